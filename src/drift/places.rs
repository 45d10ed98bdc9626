//! Places and descriptions of approved fields: a lock has none, the catalogs that the source showed have.

use crate::model::{Catalog, Stream};

/// The catalog with what the newest of `past` (newest first) says of each stream that it shows just so. A fingerprint does
/// not cover it.
pub fn with_places(catalog: &Catalog, past: &[Catalog]) -> Catalog {
    let mut placed = catalog.clone();
    for (name, stream) in &mut placed.streams {
        let Some(seen) = past.iter().filter_map(|seen| seen.streams.get(name)).find(|seen| shows(seen, stream)) else {
            continue;
        };
        for (path, field) in &mut stream.fields {
            let known = &seen.fields[path];
            (field.place, field.description) = (known.place, known.description.clone());
        }
    }
    placed
}

/// Whether every field is there in the same shape; a connection may carry some of them only.
fn shows(seen: &Stream, stream: &Stream) -> bool {
    stream.fields.iter().all(|(path, field)| seen.fields.get(path).is_some_and(|other| other.same_shape(field)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::sample;

    /// Fields in order, each with its place as an index.
    fn placed(fields: &str) -> Catalog {
        let mut catalog = sample::catalog(fields);
        for stream in catalog.streams.values_mut() {
            for (path, field) in &mut stream.fields {
                let names = fields.split(", ").map(|field| field.split(' ').next().unwrap());
                field.place = names.zip(0..).find(|(name, _)| path.root() == *name).map(|(_, at)| at);
            }
        }
        catalog
    }

    fn told(lock: &str, past: &[&str]) -> String {
        let past: Vec<Catalog> = past.iter().map(|fields| placed(fields)).collect();
        let catalog = with_places(&sample::catalog(lock), &past);
        let fields = catalog.streams.values().flat_map(|stream| &stream.fields);
        fields.map(|(path, field)| format!("{path} {:?}", field.place)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn places_come_from_the_newest_catalog_that_shows_the_stream_so() {
        let now = "b string, c string, id integer!";
        let past = [now, "b string, id integer!, a string, x string", "a string, b string, id integer!"];
        assert_eq!(told("id integer!, a string, b string", &past), "a Some(2), b Some(0), id Some(1)");
        assert_eq!(told("id integer!, a integer, b string", &past), "a None, b None, id None");
    }
}
