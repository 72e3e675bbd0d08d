//! Reads a TOML table key by key. Every value that cannot be used and every key that nobody asked
//! for becomes a [`Problem`] at its place, and reading goes on, so that all errors are reported at
//! once.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::problem::{Place, Problem, Problems, suggest};
use super::value::{Number, Text};

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Takes the value out of its [`Text`].
pub(super) fn untext<T>(located: Located<Text<T>>) -> Located<T> {
    Located { value: located.value.0, place: located.place }
}

/// What all tables share: the collected problems, and the keys that exist.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) problems: Problems,
    /// (kind of table, key): what a test compares with the documentation
    pub(super) keys: RefCell<BTreeSet<(&'static str, &'static str)>>,
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    reading: &'a Reading,
    source: usize,
    /// What kind of table it is: "peer.NAME"
    kind: &'static str,
    /// How messages call it: "peer.tor1"
    path: String,
    place: Place,
    entries: BTreeMap<String, (Place, Spanned<DeValue<'a>>)>,
    known: BTreeSet<&'static str>,
    later: BTreeSet<&'static str>,
}

impl<'a> Table<'a> {
    /// The top of a file.
    pub(super) fn top(reading: &'a Reading, source: usize, table: DeTable<'a>) -> Self {
        let place = Place::new(source, 0..0);
        Self::new(reading, source, "", String::new(), place, table)
    }

    fn new(
        reading: &'a Reading,
        source: usize,
        kind: &'static str,
        path: String,
        place: Place,
        table: DeTable<'a>,
    ) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                let place = Place::new(source, key.span());
                (key.into_inner().into_owned(), (place, value))
            })
            .collect();
        let (known, later) = (BTreeSet::new(), BTreeSet::new());
        Self { reading, source, kind, path, place, entries, known, later }
    }

    /// Where the table is named.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// How messages call it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reports a problem.
    pub(super) fn problem(&self, problem: Problem) {
        self.reading.problems.push(problem);
    }

    /// A value that may be left out. `None` also when it cannot be used, which is reported.
    pub(super) fn optional<T: Deserialize<'a>>(&mut self, key: &'static str) -> Option<Located<T>> {
        let (_, value) = self.take(key)?;
        self.value(key, value)
    }

    /// A value that must be there.
    pub(super) fn required<T: Deserialize<'a>>(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<Located<T>> {
        self.needs(key, example);
        self.optional(key)
    }

    /// Reports a key that is not there.
    pub(super) fn needs(&self, key: &'static str, example: &str) {
        if !self.entries.contains_key(key) {
            let message = format!("[{}] needs `{key}`", self.path);
            let help = format!("write {key} = {example}");
            self.problem(Problem::new(&self.place, message).help(help));
        }
    }

    /// A value that stands for itself where it is left out.
    pub(super) fn or<T: Deserialize<'a>>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).map_or(default, |located| located.value)
    }

    /// A whole number that lies in `range`, all of which `T` can hold.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<Located<T>> {
        let Located { value: Number(number), place } = self.optional(key)?;
        let value = T::try_from(number).ok().filter(|_| range.contains(&number));
        if value.is_none() {
            let (first, last) = range.into_inner();
            let message = format!("`{key}` must be from {first} to {last}");
            self.problem(Problem::new(&place, message));
        }
        Some(Located { value: value?, place })
    }

    /// An array whose elements are judged one by one; `None` when it is left out.
    pub(super) fn list<T: Deserialize<'a>>(
        &mut self,
        key: &'static str,
    ) -> Option<Vec<Located<T>>> {
        let (_, value) = self.take(key)?;
        let (span, kind) = (value.span(), value.get_ref().type_str());
        if let DeValue::Array(elements) = value.into_inner() {
            return Some(elements.into_iter().filter_map(|e| self.value(key, e)).collect());
        }
        let place = Place::new(self.source, span);
        let message = format!("`{key}` must be an array, not {}", an(kind));
        self.problem(Problem::new(&place, message).help(format!("write {key} = [\"…\"]")));
        Some(Vec::new())
    }

    /// A table under this key.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let (place, value) = self.take(key)?;
        let kind = if self.kind.is_empty() { key } else { self.kind };
        let path = self.child(key);
        self.as_table(kind, path, place, value)
    }

    /// The tables under this key, each with the name that the operator gave it. `kind` is how the
    /// documentation calls them: "peer.NAME".
    pub(super) fn named(
        &mut self,
        key: &'static str,
        kind: &'static str,
    ) -> Vec<(Located<String>, Self)> {
        let Some((place, value)) = self.take(key) else { return Vec::new() };
        let path = self.child(key);
        let Some(all) = self.as_table(kind, path.clone(), place, value) else { return Vec::new() };
        let named = all.entries.into_iter().filter_map(|(name, (place, value))| {
            let table = self.as_table(kind, format!("{path}.{name}"), place.clone(), value)?;
            Some((Located { value: name, place }, table))
        });
        named.collect()
    }

    /// Every entry, its key chosen by the operator.
    pub(super) fn all<T: Deserialize<'a>>(mut self) -> Vec<(Located<String>, Located<T>)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let located = entries.filter_map(|(name, (place, value))| {
            let value = self.value(&name, value)?;
            Some((Located { value: name, place }, value))
        });
        located.collect()
    }

    /// Keys that have a meaning, but not yet in this version, are refused; whether any was there.
    pub(super) fn later(&mut self, keys: &[&'static str]) -> bool {
        let mut refused = false;
        for key in keys {
            self.later.insert(key);
            if let Some((place, _)) = self.entries.remove(*key) {
                refused = true;
                let message = format!("`{key}` is not yet supported");
                let help = "this version cannot do it; leave the line out";
                self.problem(Problem::new(&place, message).help(help));
            }
        }
        refused
    }

    /// Whether a key is written, without reading it.
    pub(super) fn has(&self, key: &str) -> Option<Place> {
        self.entries.get(key).map(|(place, _)| place.clone())
    }

    /// Ends the reading: whatever nobody asked for is unknown.
    pub(super) fn finish(self) {
        for (key, (place, _)) in &self.entries {
            let inside = if self.path.is_empty() {
                format!("unknown table `{key}`")
            } else {
                format!("unknown key `{key}` in [{}]", self.path)
            };
            let all = self.known.iter().copied();
            let help = suggest(key, all.chain(self.later.iter().copied())).unwrap_or_else(|| {
                let known: Vec<_> = self.known.iter().copied().collect();
                format!("known here: {}", known.join(", "))
            });
            self.reading.problems.push(Problem::new(place, inside).help(help));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<(Place, Spanned<DeValue<'a>>)> {
        self.known.insert(key);
        self.reading.keys.borrow_mut().insert((self.kind, key));
        self.entries.remove(key)
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value<T: Deserialize<'a>>(
        &self,
        key: &str,
        value: Spanned<DeValue<'a>>,
    ) -> Option<Located<T>> {
        let place = Place::new(self.source, value.span());
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Located { value, place }),
            Err(error) => {
                let place = error.span().map_or(place, |span| Place::new(self.source, span));
                self.problem(Problem::new(&place, format!("`{key}`: {}", error.message())));
                None
            }
        }
    }

    fn as_table(
        &self,
        kind: &'static str,
        path: String,
        place: Place,
        value: Spanned<DeValue<'a>>,
    ) -> Option<Self> {
        let found = value.get_ref().type_str();
        if let DeValue::Table(table) = value.into_inner() {
            return Some(Self::new(self.reading, self.source, kind, path, place, table));
        }
        let message = format!("`{path}` must be a table, not {}", an(found));
        self.problem(Problem::new(&place, message).help(format!("write [{path}]")));
        None
    }
}

fn an(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
