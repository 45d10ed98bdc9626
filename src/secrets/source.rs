//! Where secrets come from.

use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::ports::SecretError;
use crate::spec::SecretRef;

/// Nobody's secret is larger; a wrong path to something huge (or endless) is noticed.
const FILE_MAX: u64 = 64 * 1024;

/// Reads what a reference names.
pub(super) fn read(
    reference: &SecretRef,
    root: &Path,
    environment: impl Fn(&str) -> Option<SecretString>,
) -> Result<SecretString, SecretError> {
    match reference {
        SecretRef::Env(name) => environment(name)
            .ok_or_else(|| missing(reference, format!("the variable {name} is not set where aam runs"))),
        SecretRef::File(path) => file(reference, &root.join(path)),
        SecretRef::Credential(name) => {
            use secrecy::ExposeSecret;
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(missing(reference, "a credential's name holds no `/` and begins with no `.`"));
            }
            let folder = environment("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                missing(reference, "aam does not run under systemd with LoadCredential= (no $CREDENTIALS_DIRECTORY)")
            })?;
            file(reference, &PathBuf::from(folder.expose_secret()).join(name))
        }
    }
}

fn missing(reference: &SecretRef, why: impl Into<String>) -> SecretError {
    let shown = match reference {
        SecretRef::Env(name) => format!("${{env:{name}}}"),
        SecretRef::File(path) => format!("${{file:{path}}}"),
        SecretRef::Credential(name) => format!("${{credential:{name}}}"),
    };
    let escape = |text: &str| text.chars().flat_map(char::escape_debug).collect::<String>();
    SecretError { reference: escape(&shown), why: escape(&why.into()) }
}

/// A file's text without its final line break.
fn file(reference: &SecretRef, path: &Path) -> Result<SecretString, SecretError> {
    let failed = |e: std::io::Error| missing(reference, format!("{}: {e}", path.display()));
    // looked at before it is opened: opening a pipe would wait for its writer
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(missing(reference, format!("{} is no regular file", path.display())));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(missing(reference, format!("{} is larger than 64 KiB", path.display())));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| missing(reference, format!("{} holds bytes that are no UTF-8", path.display())))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned().into())
}

/// Fills a setting's text of which a part, or the whole, is `${env:…}`, `${file:…}` or `${credential:…}`; for settings
/// like a database's URL.
pub fn resolve_text(
    text: &str,
    root: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<SecretString, SecretError> {
    use secrecy::ExposeSecret;
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let wrong = || SecretError {
            reference: "${…}".to_owned(),
            why: "write ${env:NAME}, ${file:PATH} or ${credential:NAME}".to_owned(),
        };
        let (inner, after) = after.split_once('}').ok_or_else(wrong)?;
        let reference = match inner.split_once(':') {
            Some(("env", name)) => SecretRef::Env(name.to_owned()),
            Some(("file", path)) => SecretRef::File(path.to_owned()),
            Some(("credential", name)) => SecretRef::Credential(name.to_owned()),
            _ => return Err(wrong()),
        };
        out.push_str(before);
        out.push_str(read(&reference, root, |name| environment(name).map(Into::into))?.expose_secret());
        rest = after;
    }
    Ok((out + rest).into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn credential(name: &str, folder: Option<&Path>) -> Result<String, String> {
        let environment = |_: &str| folder.map(|f| f.to_str().unwrap().to_owned().into());
        read(&SecretRef::Credential(name.to_owned()), Path::new("/"), environment)
            .map(|s| s.expose_secret().to_owned())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn a_credential_is_a_file_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "a\nb\r\n").unwrap();
        assert_eq!(credential("pw", Some(dir.path())).unwrap(), "a\nb");
        assert!(credential("pw", None).unwrap_err().contains("LoadCredential="));
        assert!(credential("../pw", Some(dir.path())).is_err());
    }

    #[test]
    fn only_small_regular_files_of_text_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| file(&SecretRef::File(name.to_owned()), &dir.path().join(name));
        std::fs::write(dir.path().join("large"), vec![b'x'; 64 * 1024 + 1]).unwrap();
        std::fs::write(dir.path().join("bytes"), [0xff, 0xfe]).unwrap();
        assert!(read("large").unwrap_err().why.contains("larger than 64 KiB"));
        assert!(read("bytes").unwrap_err().why.contains("no UTF-8"));
        assert!(read(".").unwrap_err().why.contains("no regular file"));
        assert!(file(&SecretRef::File("/dev/zero".into()), Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn a_setting_may_be_a_reference() {
        let environment = |name: &str| (name == "PW").then(|| "s3cret".to_owned());
        let fill = |text| resolve_text(text, Path::new("/"), environment).map(|s| s.expose_secret().to_owned());
        assert_eq!(fill("postgres://aam:${env:PW}@db/x").unwrap(), "postgres://aam:s3cret@db/x");
        assert_eq!(fill("plain").unwrap(), "plain");
        for wrong in ["${env:GONE}", "${PW}", "${env:PW"] {
            assert!(fill(wrong).is_err(), "{wrong}");
        }
    }
}
