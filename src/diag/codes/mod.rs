//! The codes of specs, locks and settings with what they mean. One slice for each family, each in its own file.
//!
//! Mapping and drift keep their codes beside the rules that they name ([`crate::mapping`] and [`crate::drift`] lie above
//! this module); `aam explain` joins all of them.

mod locks;
mod settings;
mod specs;

/// A code and its background.
#[derive(Debug)]
pub struct Code {
    /// `AAM-S014`.
    pub code: &'static str,
    /// One line, lower case, no full stop.
    pub title: &'static str,
    /// Why it is a problem, an example, and how to mend it.
    pub text: &'static str,
}

/// The families in the order of the manual.
const FAMILIES: [&[Code]; 3] = [settings::SETTINGS, specs::SPECS, locks::LOCKS];

/// All codes of this module.
pub fn all() -> impl Iterator<Item = &'static Code> {
    FAMILIES.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_explained() {
        for family in FAMILIES {
            for pair in family.windows(2) {
                assert!(pair[0].code < pair[1].code, "{} and {} are out of order", pair[0].code, pair[1].code);
            }
        }
        for code in all() {
            let digits = code.code.strip_prefix("AAM-").and_then(|c| c.get(1..)).unwrap_or_default();
            assert!(digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()), "{} is no code", code.code);
            assert!(
                !code.title.ends_with('.') && code.text.contains("Mend:"),
                "{} needs a title and a mend",
                code.code
            );
        }
    }
}
