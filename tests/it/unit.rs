//! The systemd unit, judged by systemd itself where it is installed.

use std::process::{Command, Output};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/aam.service");

/// Exposure of 1.5 of 10, in systemd's own unit of a tenth.
const MAX_EXPOSURE: &str = "--threshold=15";

/// Runs `systemd-analyze`; `None`, said aloud, where it is not installed.
#[expect(clippy::print_stdout, reason = "only tests call it")]
fn analyze(arguments: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            println!("SKIPPED: systemd-analyze is not installed");
            None
        }
    }
}

#[test]
fn the_unit_is_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    // the binary and the manual are not where the unit will find them
    let text = std::fs::read_to_string(UNIT).unwrap().replace("/usr/bin/aam", "/bin/true");
    let text = text.lines().filter(|line| !line.starts_with("Documentation=")).collect::<Vec<_>>().join("\n");
    let unit = dir.path().join("aam.service");
    std::fs::write(&unit, text).unwrap();
    let Some(output) = analyze(&["verify", "--recursive-errors=no", unit.to_str().unwrap()]) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("aam.service")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_is_closed_as_far_as_its_work_allows() {
    let Some(output) = analyze(&["security", "--offline=yes", MAX_EXPOSURE, UNIT]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
