//! Which files make which streams.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::connector::Settings;
use crate::ports::EngineError;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Separated values; TSV is one with tabs.
    Csv,
    /// A workbook: xlsx, xlsm, xlsb, xls or ods.
    Excel,
    /// One JSON object per line.
    Ndjson,
    /// One JSON array of objects, or one object.
    Json,
}

/// The settings of a file source.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
    /// Only files that one of these matches; empty: all.
    globs: Vec<GlobMatcher>,
    format: Option<Format>,
    /// Given by a person; else inferred.
    pub delimiter: Option<u8>,
    /// Given by a person; else by byte order mark, else UTF-8.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// Given by a person; else inferred.
    pub header: Option<bool>,
}

/// A table within a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// Its name relative to the source's path: names it in states.
    pub shown: String,
    /// How it is written.
    pub format: Format,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
}

impl Layout {
    /// Reads and checks the settings.
    pub fn from(settings: &Settings<'_>) -> Result<Self, EngineError> {
        let glob = |pattern: &str| {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            glob.map(|g| g.compile_matcher()).map_err(|e| settings.wrong("globs", &e.to_string()))
        };
        let globs = settings.list("globs")?.unwrap_or_default();
        let format = match settings.text("format")?.as_deref() {
            None | Some("auto") => None,
            Some("csv" | "tsv") => Some(Format::Csv),
            Some("excel") => Some(Format::Excel),
            Some("ndjson") => Some(Format::Ndjson),
            Some("json") => Some(Format::Json),
            Some(_) => return Err(settings.wrong("format", "must be auto, csv, tsv, excel, ndjson or json")),
        };
        let delimiter = match settings.text("delimiter")?.as_deref() {
            None => None,
            Some("\\t") => Some(b'\t'),
            Some(text) if text.len() == 1 => Some(text.as_bytes()[0]),
            Some(_) => return Err(settings.wrong("delimiter", "must be one ASCII character, or `\\t`")),
        };
        let label = settings.text("encoding")?;
        let named = |l: &String| encoding_rs::Encoding::for_label(l.as_bytes());
        let encoding = label.as_ref().map(|l| named(l).ok_or_else(|| settings.wrong("encoding", "is not known")));
        Ok(Self {
            path: PathBuf::from(settings.needed("path")?),
            globs: globs.iter().map(|pattern| glob(pattern)).collect::<Result<_, _>>()?,
            format,
            delimiter,
            encoding: encoding.transpose()?,
            header: match settings.text("header")?.as_deref() {
                Some("auto") => None,
                _ => settings.parsed("header", "auto, true or false")?,
            },
        })
    }

    /// Streams by name, each with its parts in the order of their paths.
    pub fn streams(&self) -> Result<BTreeMap<String, Vec<Part>>, String> {
        let mut streams: BTreeMap<String, Vec<Part>> = BTreeMap::new();
        for (path, shown) in self.files()? {
            let Some(format) = self.format.or_else(|| by_extension(&path)) else { continue };
            if !self.globs.is_empty() && !self.globs.iter().any(|glob| glob.is_match(&shown)) {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let part = Part { path, shown, format, sheet: None };
            if format != Format::Excel {
                streams.entry(name).or_default().push(part);
                continue;
            }
            for (place, sheet) in super::rows::sheets(&part.path)?.into_iter().enumerate() {
                let name = if place == 0 { name.clone() } else { format!("{name}_{sheet}") };
                streams.entry(name).or_default().push(Part { sheet: Some(sheet), ..part.clone() });
            }
        }
        Ok(streams)
    }

    /// Every file in question with its name relative to the path, in the order of these names.
    fn files(&self) -> Result<Vec<(PathBuf, String)>, String> {
        let found = std::fs::metadata(&self.path).map_err(|e| format!("{}: {e}", self.path.display()))?;
        if found.is_file() {
            let shown = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(vec![(self.path.clone(), shown)]);
        }
        let mut files = Vec::new();
        let hidden = |e: &walkdir::DirEntry| e.depth() > 0 && e.file_name().to_string_lossy().starts_with(['.', '~']);
        for entry in walkdir::WalkDir::new(&self.path).into_iter().filter_entry(|e| !hidden(e)) {
            let entry = entry.map_err(|e| e.to_string())?;
            if entry.file_type().is_file() {
                let shown = entry.path().strip_prefix(&self.path).unwrap_or(entry.path());
                files.push((entry.path().to_owned(), shown.to_string_lossy().into_owned()));
            }
        }
        files.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(files)
    }
}

fn by_extension(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "tab" | "psv" => Some(Format::Csv),
        "xlsx" | "xlsm" | "xlsb" | "xls" | "ods" => Some(Format::Excel),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "json" => Some(Format::Json),
        _ => None,
    }
}
