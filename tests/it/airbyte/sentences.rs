//! What Airbyte's contract says with never, always, only, first or ignore, and the tests that hold us, or the stand-in, to it.
//! Which call is for which sentence is read nowhere else: a test that is renamed must be renamed here.

use std::collections::BTreeSet;
use std::path::Path;

/// A sentence in few words, and its tests as `cargo test` names them: below `airbyte`, or of the engine below `src`.
type Sentence = (&'static str, &'static [&'static str]);

/// In the order of the contract.
const SENTENCES: &[Sentence] = &[
    // two APIs, one server
    (
        "only the Config API has types, catalog ids and check results",
        &["sent::only_the_config_api_is_asked_for_what_only_it_has"],
    ),
    (
        "outside the API everything looks like success: 200 with a web page",
        &[
            "standin::session::whatever_is_outside_the_api_is_the_web_page_with_200",
            "client::a_web_page_with_status_200_is_not_taken_for_the_api",
        ],
    ),
    // authentication
    (
        "credentials go in JSON, with both spellings of the grant",
        &["client::a_token_is_asked_for_in_json_and_of_the_public_api_with_both_spellings_of_the_grant"],
    ),
    (
        "one token serves both APIs, and is renewed before it expires",
        &[
            "standin::session::one_token_serves_both_apis",
            "client::a_token_serves_both_apis_and_is_renewed_before_it_expires",
        ],
    ),
    (
        "of what is said of a token's life the answer comes first, then the token itself",
        &[
            "src::client::token::tests::the_life_of_a_token_is_first_as_told_then_as_it_says_itself_then_the_shortest_of_all",
        ],
    ),
    (
        "on 401 one new token and one more try only",
        &[
            "client::a_refused_token_is_replaced_once_even_for_a_write",
            "standin::session::an_expired_token_is_401_and_a_new_one_is_fetched",
        ],
    ),
    (
        "never try refused credentials in a loop, whatever status refuses them",
        &[
            "client::a_refusal_of_the_credentials_is_never_tried_again_in_a_loop",
            "standin::session::bad_credentials_answer_400_or_401_or_500_depending_on_the_version",
        ],
    ),
    (
        "a token call may be 408, which is tried again",
        &["client::a_token_call_that_ran_into_the_servers_limit_is_tried_again"],
    ),
    (
        "403 is a lack of the role: reads need a reader only",
        &["standin::session::a_reader_may_read_and_gets_403_for_writes_discovers_and_checks"],
    ),
    // which API for what
    (
        "a refresh is of the Config API only: 422 elsewhere",
        &["standin::jobs::a_refresh_through_the_public_api_is_422_and_empty_where_it_is_unsupported"],
    ),
    // errors
    (
        "from 2.0 on an error of the Config API is only an id",
        &[
            "standin::session::errors_have_the_shapes_of_their_api_and_version",
            "src::error::tests::every_shape_becomes_a_code_a_sentence_and_the_field",
        ],
    ),
    (
        "of the shapes of an error the first that fits counts, else the first 500 characters",
        &[
            "src::error::tests::of_a_body_of_several_shapes_the_first_of_the_contract_counts",
            "src::error::tests::of_a_body_without_a_shape_only_the_first_500_characters_are_told",
        ],
    ),
    (
        "after a write without an answer look first",
        &[
            "src::error::tests::a_write_that_may_have_happened_is_looked_for_first",
            "faults::doubled::settings_that_were_sent_without_an_answer_are_sent_again",
        ],
    ),
    ("only reads are tried again blindly", &["client::reads_are_tried_again_and_writes_never"]),
    (
        "at most four calls in flight, and one discover of a source",
        &["client::at_most_four_calls_are_in_flight", "standin::engine::of_one_source_one_discover_runs_at_a_time"],
    ),
    // workspaces, definitions, specifications
    ("the organization is always the nil one", &["standin::session::the_organization_is_always_the_nil_one"]),
    (
        "the list of workspaces without pages is there only up to 1.6",
        &[
            "standin::session::workspaces_list_exists_only_up_to_1_6",
            "standin::session::workspaces_are_read_to_the_last_page_whichever_api_there_is",
        ],
    ),
    (
        "the plain list of connectors ignores the pins of a workspace",
        &["standin::engine::the_version_that_a_workspace_is_pinned_to_is_seen_as_its_own_list_alone_has_it"],
    ),
    (
        "a connector is found by its repository first, then by its name, and two are refused",
        &[
            "src::told::tests::a_connector_is_found_by_its_repository_first_and_by_its_name_in_any_case_then",
            "src::told::tests::two_connectors_that_match_are_refused_with_both_named",
        ],
    ),
    (
        "never rely on the public API's words for connectors",
        &["standin::actors::an_unknown_source_type_is_a_400_of_the_public_api"],
    ),
    // sources, destinations, check
    (
        "a create holds the settings against the specification only",
        &["standin::actors::creation_holds_the_settings_against_the_specification_and_does_not_connect"],
    ),
    (
        "a secret always comes back masked, and the mask keeps it",
        &[
            "standin::actors::secrets_come_back_masked_and_the_mask_sent_back_keeps_them",
            "live::a_source_that_a_person_changed_is_told_and_a_new_secret_leaves_her_change",
        ],
    ),
    (
        "the connector of a source never changes",
        &["standin::engine::the_connector_of_a_source_is_never_changed_by_an_update"],
    ),
    (
        "from 1.8 on a list is only 20 long, and goes on after the last item seen",
        &[
            "standin::actors::pages_of_20_hide_the_rest_from_1_8",
            "standin::actors::a_cursor_is_the_id_of_the_last_item_seen",
            "standin::actors::a_full_page_may_be_the_last",
        ],
    ),
    (
        "a source takes its connections along, always",
        &["standin::actors::deleting_a_source_deletes_its_connections_and_get_answers_on"],
    ),
    (
        "of a check the job is read first: HTTP is always 200",
        &[
            "standin::reading::of_a_check_job_info_is_read_first",
            "standin::actors::a_check_is_200_either_way_and_a_broken_one_has_no_status",
        ],
    ),
    // discover and diff
    (
        "of a discover the job is read first: a failed one is 200 without a catalog",
        &[
            "standin::reading::of_a_discover_job_info_is_read_first",
            "standin::discover::a_failed_discover_is_http_200_without_a_catalog",
        ],
    ),
    (
        "only few streams are selected by the server",
        &[
            "standin::discover::only_a_sole_stream_is_selected_by_the_server",
            "standin::engine::streams_that_the_server_does_not_preselect_are_seen_all_the_same",
        ],
    ),
    (
        "a diff comes only with a connection and a fresh run",
        &["standin::discover::a_diff_comes_only_with_a_connection_id_and_a_fresh_run"],
    ),
    (
        "`disableCache` is ignored without a word",
        &[
            "standin::discover::a_misspelt_disable_cache_is_silently_ignored_and_breaks_the_contract",
            "sent::calls_that_the_contract_forbids_are_nowhere_in_the_product",
        ],
    ),
    (
        "a changed database is never noticed by a cache",
        &[
            "standin::discover::discover_without_disable_cache_is_a_cache_hit",
            "sent::no_discover_names_a_connection_and_no_update_lacks_skip_reset",
        ],
    ),
    (
        "never name a connection in a discover that only reads",
        &[
            "standin::discover::a_connection_id_on_discover_can_pause_a_connection",
            "standin::discover::a_refreshed_catalog_of_the_web_page_has_the_same_effect",
            "standin::discover::our_discover_never_pauses_anything",
            "sent::no_discover_names_a_connection_and_no_update_lacks_skip_reset",
        ],
    ),
    (
        "a discover with a connection never tells of its job, though it must",
        &["standin::reading::a_discover_without_job_info_is_read_all_the_same"],
    ),
    (
        "a second discover of a source is never rejected",
        &["standin::discover::two_discovers_of_one_source_are_not_rejected"],
    ),
    (
        "ignore the order of streams, types and modes",
        &[
            "standin::engine::another_order_of_streams_types_and_modes_is_no_change",
            "standin::discover::identical_catalogs_of_a_source_share_an_id_though_nothing_keeps_its_order",
        ],
    ),
    (
        "a discover by command is the only call that may be sent twice, and always fresh",
        &[
            "standin::discover::commands_exist_from_1_7_are_always_fresh_and_run_once_per_id",
            "standin::discover::a_discover_that_outlives_its_deadline_is_gone_on_with",
        ],
    ),
    ("an unknown command is 403", &["standin::discover::an_unknown_command_is_403"]),
    (
        "a connection without the id of its catalog always shows no change",
        &["standin::discover::a_fresh_discover_shows_as_a_change_of_connections_built_on_an_older_catalog"],
    ),
    (
        "without a connection a diff tells only of streams that came and went",
        &["standin::discover::catalogs_are_compared_without_side_effects_after_2_0"],
    ),
    (
        "only a key or a cursor breaks anything for Airbyte: what is breaking we decide",
        &[
            "standin::discover::a_changed_type_a_removed_column_and_a_removed_stream_never_break_for_airbyte",
            "live::a_broken_stream_is_held_while_the_others_sync_and_goes_on_once_decided",
        ],
    ),
    // connections
    (
        "always send what the server would choose otherwise",
        &[
            "sent::what_the_server_would_choose_otherwise_is_always_sent",
            "standin::connections::the_server_fills_in_defaults_ids_and_an_order_of_its_own",
        ],
    ),
    (
        "`selected` is always sent: unselected streams are dropped, and without the word it is 500",
        &[
            "standin::connections::unselected_streams_are_dropped_and_shown_by_the_web_page_only",
            "standin::connections::a_missing_selected_is_dereferenced_as_null",
        ],
    ),
    (
        "a connection shows selected streams only",
        &["standin::connections::unselected_streams_are_dropped_and_shown_by_the_web_page_only"],
    ),
    (
        "compare a discover with a discover only: a selection of fields cuts the schema that is stored",
        &["standin::engine::a_schema_that_field_selection_cut_down_is_no_change"],
    ),
    (
        "a field is selected by one element of its path only, cursor and key always",
        &[
            "src::catalog::tests::a_field_is_selected_by_the_first_element_of_its_path_only",
            "standin::connections::field_selection_cuts_the_stored_schema_and_must_keep_cursor_and_key",
        ],
    ),
    ("ignore the ids of mappers", &["src::catalog::tests::an_id_that_the_server_gives_a_mapper_is_no_change"]),
    ("a stream comes only once", &["standin::connections::duplicate_streams_and_unknown_modes_are_refused"]),
    ("a connection that is locked never changes", &["standin::connections::a_locked_connection_cannot_be_changed"]),
    (
        "of a Quartz expression the seconds come first, and exactly one day is `?`",
        &[
            "standin::connections::a_schedule_is_checked_as_quartz_does",
            "src::schedule::tests::what_airbyte_cannot_keep_is_said",
        ],
    ),
    (
        "a deleted connection is always answered still",
        &["standin::connections::a_deleted_connection_still_answers_get_with_status_deprecated"],
    ),
    (
        "a catalog always replaces the whole one",
        &["standin::connections::an_update_leaves_what_is_absent_and_replaces_the_whole_catalog"],
    ),
    (
        "an update without `skipReset` can clear data: ours never is",
        &[
            "standin::connections::an_update_without_skip_reset_can_clear_data",
            "standin::connections::our_update_never_starts_a_job",
            "sent::no_discover_names_a_connection_and_no_update_lacks_skip_reset",
            "by_name::refresh_and_clear_only_by_name",
        ],
    ),
    (
        "only its status starts a stopped connection again, and we never do that by ourselves",
        &[
            "standin::connections::nothing_reactivates_a_stopped_connection_but_its_status",
            "live::a_connection_that_the_system_disabled_is_never_silently_enabled",
        ],
    ),
    (
        "a reset that was asked for during a pause always runs at the next start",
        &["standin::jobs::resets_asked_for_during_a_pause_run_at_the_next_start"],
    ),
    // connections of the public API
    (
        "never create without streams",
        &["standin::public::creating_without_streams_takes_only_what_the_server_preselects"],
    ),
    (
        "an empty list is ignored by a patch, another one always replaces all",
        &["standin::public::on_patch_an_empty_list_is_ignored_and_another_replaces_all"],
    ),
    (
        "the cache of streams is to be ignored first",
        &["standin::public::new_streams_are_not_found_until_the_cache_is_ignored"],
    ),
    (
        "a schedule is by hand or a cron only, always in UTC",
        &[
            "standin::public::a_basic_schedule_reads_back_and_cannot_be_sent",
            "standin::public::a_cron_answers_with_utc_appended_and_is_refused_with_it",
            "src::schedule::tests::both_apis_are_read",
        ],
    ),
    (
        "never send what the source defines otherwise than it does",
        &["standin::public::what_the_source_defines_must_not_be_sent_otherwise"],
    ),
    (
        "never send an empty selection",
        &["standin::public::selected_fields_are_answered_empty_for_all_and_refused_empty"],
    ),
    // jobs
    (
        "the oldest job comes first in the one API, the newest in the other",
        &["standin::jobs::config_lists_the_newest_job_first_and_public_the_oldest"],
    ),
    (
        "an incomplete job never is one that ended",
        &["standin::jobs::incomplete_is_not_terminal", "standin::reading::unknown_words_are_others"],
    ),
    (
        "a job is stamped with its end only when it ended",
        &["standin::jobs::a_public_job_has_an_integer_id_and_terminal_times_at_its_end_only"],
    ),
    (
        "a 409 of a start is a job that runs: follow it",
        &[
            "standin::jobs::starting_a_second_sync_is_409_and_the_first_can_be_attached_to",
            "standin::engine::a_start_that_is_409_attaches_to_the_job_that_runs",
        ],
    ),
    (
        "after a start without an answer look at the jobs first",
        &["faults::doubled::a_sync_that_was_asked_for_without_an_answer_runs_once"],
    ),
    (
        "a cancel ignores the id: look at the job first",
        &["standin::jobs::cancel_acts_on_whatever_job_the_connection_runs_now"],
    ),
    (
        "never create a job",
        &[
            "standin::jobs::creating_a_job_first_fails_all_that_run",
            "sent::calls_that_the_contract_forbids_are_nowhere_in_the_product",
        ],
    ),
    // pages
    (
        "ignore `next`, and raise the offset by whole pages only",
        &[
            "standin::public::next_points_into_the_cluster_and_is_there_for_every_page_that_holds_something",
            "standin::session::next_is_ignored_and_the_offset_raised_by_whole_pages_until_one_is_short",
            "standin::public::a_page_is_20_unless_asked_and_100_at_most",
        ],
    ),
    (
        "the list of connections never has pages",
        &[
            "standin::connections::connections_list_is_not_paged_and_the_web_pages_list_is",
            "standin::connections::a_list_that_is_too_large_for_one_answer_comes_in_pages",
        ],
    ),
    // tags, operations, notifications
    (
        "tags always replace each other",
        &["standin::connections::tags_exist_from_1_4_have_unique_names_and_replace_each_other"],
    ),
    (
        "never touch the operations of a connection",
        &["standin::engine::an_update_sends_only_what_differs_and_leaves_operations_untouched"],
    ),
    (
        "only some messages are for machines: what happens is seen by asking",
        &["live::a_job_that_airbytes_schedule_starts_is_followed_and_its_rows_become_events"],
    ),
    // no idempotency keys
    ("a name is never unique", &["standin::actors::names_are_not_unique_and_no_create_is_idempotent"]),
    (
        "what is known is there only if the list has it too",
        &["standin::reading::a_source_without_a_status_is_there_if_the_list_has_it"],
    ),
    (
        "before a create look through the whole list; of several none is taken",
        &["faults::doubled::what_was_made_twice_stops_the_connection_with_both_named"],
    ),
    (
        "after a create without an answer look first, and for long",
        &[
            "faults::doubled::while_an_ask_may_still_be_answered_no_second_one_is_sent",
            "faults::late::what_is_made_late_is_found_and_never_asked_for_again",
        ],
    ),
    ("never search over all workspaces", &["sent::calls_that_the_contract_forbids_are_nowhere_in_the_product"]),
    (
        "only what differs is sent, and read back",
        &[
            "standin::engine::an_update_sends_only_what_differs_and_leaves_operations_untouched",
            "live::an_update_that_is_answered_and_not_done_is_never_believed",
        ],
    ),
    // long calls and limits
    (
        "a discover goes on after its client gave up",
        &["standin::discover::a_discover_goes_on_after_the_client_gave_up_and_is_found_later"],
    ),
    (
        "an answer of a catalog is never small",
        &["standin::connections::a_list_that_is_too_large_for_one_answer_comes_in_pages"],
    ),
    // catalog fields
    ("never send what only the server sets", &["src::catalog::tests::what_only_the_server_sets_is_never_sent"]),
    (
        "some pairs of modes have no word in the public API",
        &["standin::public::a_pair_of_modes_without_a_joint_value_is_answered_without_one"],
    ),
    (
        "the server ignores keys that it does not know: a schema in snake case is none",
        &["standin::connections::a_snake_case_schema_becomes_a_stream_without_one"],
    ),
    (
        "a namespace of null is none, an empty one is one",
        &["src::catalog::tests::a_namespace_of_null_is_none_and_an_empty_one_is_one"],
    ),
    // versions
    (
        "send only keys that are known: every request is held against the documents",
        &["tour::the_tour_on_1_8", "tour::the_tour_on_a_server_without_commands_and_tags"],
    ),
    (
        "ignore keys that are not known, and never lose them",
        &[
            "standin::reading::unknown_keys_are_ignored",
            "src::catalog::tests::what_is_not_modelled_goes_back_as_it_came",
        ],
    ),
    ("a word that is not known is another one", &["standin::reading::unknown_words_are_others"]),
    ("the version is read only once per start", &["client::the_version_is_read_once_per_start"]),
];

/// Every test below a folder, as `SENTENCES` names it.
fn tests(folder: &str, prefix: &str, into: &mut BTreeSet<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for entry in walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap) {
        if entry.path().extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let module = entry.path().strip_prefix(&root).unwrap().with_extension("");
        let mut parts: Vec<_> = module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts.retain(|part| part != "mod");
        if !prefix.is_empty() {
            parts.insert(0, prefix.to_owned());
            parts.push("tests".to_owned());
        }
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
                let name = rest.split('(').next().unwrap();
                into.insert(format!("{}::{name}", parts.join("::")));
                is_test = false;
            }
        }
    }
}

#[test]
fn every_sentence_of_the_contract_has_a_test_that_is_there() {
    let mut there = BTreeSet::new();
    tests("tests/it/airbyte", "", &mut there);
    tests("src/engine/airbyte", "src", &mut there);
    let gone: Vec<_> = SENTENCES
        .iter()
        .flat_map(|(sentence, tests)| tests.iter().map(move |test| (sentence, *test)))
        .filter(|(_, test)| !there.contains(*test))
        .map(|(sentence, test)| format!("{sentence}: no test is called {test}"))
        .collect();
    assert!(gone.is_empty(), "{}", gone.join("\n"));
    let without: Vec<_> =
        SENTENCES.iter().filter(|(_, tests)| tests.is_empty()).map(|(sentence, _)| sentence).collect();
    assert!(without.is_empty(), "{without:?}");
    let distinct: BTreeSet<_> = SENTENCES.iter().map(|(sentence, _)| sentence).collect();
    assert_eq!(distinct.len(), SENTENCES.len(), "a sentence stands here once");
}
