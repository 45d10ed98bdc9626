//! The codes of this module's diagnostics, for `aam explain`.

/// Code, title, background.
pub const CODES: &[(&str, &str, &str)] = &[
    (
        "AAM-M001",
        "mapping to an unknown entity",
        "Every name below `entities:` of a mapping must be declared by a file `mappings/entities/NAME.yaml` of kind entity.\n\n\
         Example: `entities: {acount: …}` while the entity is called `account`.\n\nMend: correct the name, or add the entity's file.",
    ),
    (
        "AAM-M002",
        "mapping from a stream that no connection has",
        "At least one connection that uses the mapping must have the stream in its lock. A bare name is enough where only \
         one stream has it; otherwise write the full name, `public/accounts`. If the source dropped the stream, remove the entry.\n\n\
         Example: `stream: public/acounts`.\n\nMend: take the name that the message suggests.",
    ),
    (
        "AAM-M003",
        "unknown canonical field",
        "The left side of a mapping line is a field of the entity. A field that the entity does not have can be kept as \
         `extras.NAME`, which takes any JSON, or be added to the entity's file.\n\n\
         Example: `nmae: name`.\n\nMend: take the field that the message suggests, write `extras.NAME`, or extend the entity.",
    ),
    (
        "AAM-M004",
        "canonical field given twice",
        "Each canonical field has one rule. Several source fields can be joined by an expression: `{expr: 'first ~ \" \" ~ last'}`.\n\n\
         Example: two lines `name: first` and `name: last`.\n\nMend: keep one of them.",
    ),
    (
        "AAM-M005",
        "required canonical field without a rule",
        "A record without a required field goes to the dead letters. A mapping that never fills one would send every record there.\n\n\
         Example: entity account requires `name`, and the mapping has no line for it.\n\nMend: add a rule for the field, or take `required` away from the entity.",
    ),
    (
        "AAM-M006",
        "unknown source field",
        "The right side of a mapping line, a key part, or a variable of an expression names a field that the stream's approved \
         schema (its lock) does not have. Paths reach into objects (`address.city`) and lists (`orders[].sku`); a name that holds a dot \
         is quoted. In expressions `record[\"any name\"]` reaches names that are no identifiers.\n\n\
         Example: `name: nmae`, where the lock has `name`.\n\nMend: take the field that the message suggests. If the source renamed the field, the drift's repair changes this line.",
    ),
    (
        "AAM-M007",
        "source field does not fit the canonical field",
        "Without `as:` a source type becomes only its own canonical type: strings, binary and times of day become string; integer \
         becomes integer or decimal; number and decimal become decimal; timestamps without a zone are read as UTC; a field of type any \
         is decided record by record. Write `{from: FIELD, as: TYPE}` to cast.\n\n\
         Example: `annual_revenue: revenue_text`, a string for a decimal.\n\nMend: `annual_revenue: {from: revenue_text, as: decimal}`.",
    ),
    (
        "AAM-M008",
        "unknown cast",
        "`as:` takes string, integer, decimal, boolean, date and timestamp. Boolean knows true, t, yes, y, on, 1 and false, f, no, n, off, \
         0 in any case. Timestamp takes ISO 8601 with or without a zone (none means UTC), and numbers as seconds since 1970, or as \
         milliseconds from 100,000,000,000 on. What a cast cannot take sends the record to the dead letters.\n\n\
         Example: `{from: size, as: int}`.\n\nMend: `{from: size, as: integer}`.",
    ),
    (
        "AAM-M009",
        "value in the mapping does not fit the canonical field",
        "`default` and the right side of `values` are read as the canonical field's type. The left side of `values` is compared with the \
         source value's text, so `1` matches the number and the text alike.\n\n\
         Example: `{from: size, default: many}` for a canonical field of type integer.\n\nMend: write a value of the field's type.",
    ),
    (
        "AAM-M010",
        "expression cannot be read",
        "`expr` and `deleted_when` are minijinja expressions over the record's top-level fields. A field that a record does not \
         have is none; using an undefined attribute fails the record. `deleted_when` holds for true, numbers other than zero, filled \
         lists and objects, and text that is neither empty nor one of the words for false.\n\n\
         Example: `{expr: 'first ~'}`.\n\nMend: correct the place that the message shows.",
    ),
    (
        "AAM-M011",
        "key field is no single value",
        "A record's key is made of strings, numbers or booleans. Objects and lists cannot be part of it.\n\n\
         Example: `key: address`, where address is an object.\n\nMend: name the value inside of it, `key: address.id`, or another field.",
    ),
    (
        "AAM-M012",
        "name of a canonical field cannot be read",
        "A canonical field is a field of the entity, or `extras.` and one name.\n\n\
         Example: `extras.: name`.\n\nMend: write the name after the dot, `extras.nickname`.",
    ),
    (
        "AAM-M013",
        "entity field of an unknown type",
        "The types of canonical fields are string, integer, decimal, boolean, date, timestamp, object and array.\n\n\
         Example: `type: text` instead of `type: string`.\n\nMend: take one of these types.",
    ),
    (
        "AAM-M014",
        "entity mapped twice from one stream",
        "Two entries would both write the records of one (stream, entity) pair. Join them into one.\n\n\
         Example: two entries of entity account, both with `stream: public/accounts`.\n\nMend: move the fields of one into the other.",
    ),
];
