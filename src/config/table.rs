//! Reads a TOML table key by key. Every value that cannot be used and every key that nobody asked
//! for becomes a [`Problem`] at its place, and reading goes on, so that all errors are reported at
//! once.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::name;
use super::problem::{Place, Problem, Problems, listed, suggest};
use super::value::{Number, Text, Value};

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

/// The keys that a reader asks for, whatever is written.
pub(super) fn asked_by<T>(read: impl Fn(&mut Table<'_>) -> T) -> BTreeSet<&'static str> {
    let reading = Reading::default();
    let mut table = Table::top(&reading, 0, DeTable::new());
    read(&mut table);
    table.known
}

/// What all tables share: the collected problems, and the keys that exist.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) problems: Problems,
    /// Something could not be read at all, so that nobody can say what is not defined
    pub(super) incomplete: Cell<bool>,
    /// (kind of table, key): what a test compares with the documentation
    pub(super) keys: RefCell<BTreeSet<(&'static str, &'static str)>>,
}

/// What to do about a key of a later version.
pub(super) const LATER: &str = "this version cannot do it; leave the line out";

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
    pub(super) fn optional<T: Value>(&mut self, key: &'static str) -> Option<Located<T>> {
        let (_, value) = self.take(key)?;
        self.value(key, &value)
    }

    /// A value that must be there.
    pub(super) fn required<T: Value>(
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
    pub(super) fn or<T: Value>(&mut self, key: &'static str, default: T) -> T {
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
    pub(super) fn list<T: Value>(&mut self, key: &'static str) -> Option<Vec<Located<T>>> {
        let (_, value) = self.take(key)?;
        if let DeValue::Array(elements) = value.get_ref() {
            return Some(elements.iter().filter_map(|e| self.value(key, e)).collect());
        }
        let place = Place::new(self.source, value.span());
        let message = format!("`{key}` must be a list, not {}", shown(value.get_ref()));
        let is_table = value.get_ref().is_table();
        let element = if is_table { "…".into() } else { shown(value.get_ref()) };
        let help = format!("write {key} = [{element}]");
        self.problem(Problem::new(&place, message).help(help));
        Some(Vec::new())
    }

    /// A [`list`](Self::list) that makes no sense without elements; `help` says what to do then.
    pub(super) fn elements<T: Value>(
        &mut self,
        key: &'static str,
        help: &str,
    ) -> Option<Vec<Located<T>>> {
        self.refuse_empty(key, help);
        self.list(key)
    }

    fn refuse_empty(&self, key: &'static str, help: &str) {
        if let Some((_, value)) = self.entries.get(key)
            && value.get_ref().as_array().is_some_and(|elements| elements.is_empty())
        {
            let place = Place::new(self.source, value.span());
            self.problem(Problem::new(&place, format!("`{key}` is empty")).help(help));
        }
    }

    /// A table under this key of the top.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        self.subtable(key, key)
    }

    /// A table under this key. `kind` is how the documentation calls it.
    pub(super) fn subtable(&mut self, key: &'static str, kind: &'static str) -> Option<Self> {
        let (place, value) = self.take(key)?;
        let path = self.child(key);
        let entries = self.entries_of(&path, &path, &place, value)?;
        Some(Self::new(self.reading, self.source, kind, path, place, entries))
    }

    /// The tables under this key: one, or an array of them, in which `help` says what to write.
    /// `kind` is how the documentation calls them.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        kind: &'static str,
        help: &str,
    ) -> Option<Vec<Self>> {
        self.refuse_empty(key, help);
        let (place, value) = self.take(key)?;
        let path = self.child(key);
        let written = if let DeValue::Array(elements) = value.get_ref() {
            let located = |element: &Spanned<_>| Place::new(self.source, element.span());
            elements.iter().map(|element| (located(element), element.clone())).collect()
        } else {
            vec![(place, value)]
        };
        let read = written.into_iter().filter_map(|(place, value)| {
            let entries = self.entries_of(&path, &path, &place, value)?;
            Some(Self::new(self.reading, self.source, kind, path.clone(), place, entries))
        });
        Some(read.collect())
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
        let header = format!("{path}.NAME");
        let Some(all) = self.entries_of(&path, &header, &place, value) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, value) in all {
            let place = Place::new(self.source, name.span());
            let name = name.into_inner().into_owned();
            let DeValue::Table(entries) = value.into_inner() else {
                let message = format!("`{name}` is in [{path}], which needs a name");
                let help = format!("write [{header}] and under it {name} = …");
                self.problem(Problem::new(&place, message).help(help));
                continue;
            };
            if let Some(problem) = name::problem(&name, &place) {
                self.problem(problem);
            }
            let path = format!("{path}.{name}");
            let table = Self::new(self.reading, self.source, kind, path, place.clone(), entries);
            named.push((Located { value: name, place }, table));
        }
        named
    }

    /// Every entry, its key chosen by the operator; without a value that cannot be used.
    pub(super) fn all<T: Value>(mut self) -> Vec<(Located<String>, Option<Located<T>>)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let located = entries.map(|(name, (place, value))| {
            let value = self.value(&name, &value);
            (Located { value: name, place }, value)
        });
        located.collect()
    }

    /// Keys that have a meaning, but not yet in this version, are refused; whether any was there.
    pub(super) fn later(&mut self, keys: &[&'static str], help: &str) -> bool {
        let mut refused = false;
        for key in keys {
            self.later.insert(key);
            if let Some((place, _)) = self.entries.remove(*key) {
                refused = true;
                let message = format!("`{key}` is not yet supported");
                self.problem(Problem::new(&place, message).help(help));
            }
        }
        refused
    }

    /// Switches that this version does not have: `false` states what is so.
    pub(super) fn only_false(&mut self, keys: &[&'static str]) {
        for key in keys {
            let entry = self.entries.get(*key);
            if entry.is_some_and(|(_, value)| value.get_ref().as_bool() == Some(false)) {
                self.entries.remove(*key);
            }
        }
        self.later(keys, LATER);
    }

    /// Whether a key is written, without reading it.
    pub(super) fn has(&self, key: &str) -> Option<Place> {
        self.entries.get(key).map(|(place, _)| place.clone())
    }

    /// Keys that are known and not looked at.
    pub(super) fn skip(&mut self, keys: &BTreeSet<&'static str>) {
        for key in keys {
            self.known.insert(key);
            self.entries.remove(*key);
        }
    }

    /// Takes away a key that nobody has asked for.
    pub(super) fn take_unknown(&mut self, key: &str) -> Option<Place> {
        self.entries.remove(key).map(|(place, _)| place)
    }

    /// Whether something is written that nobody has asked for.
    pub(super) fn has_unknown(&self) -> bool {
        !self.entries.is_empty()
    }

    /// How many problems there are so far, in all tables.
    pub(super) fn problems(&self) -> usize {
        self.reading.problems.len()
    }

    /// Whether everything could be read, so that what is not there is not defined.
    pub(super) fn is_complete(&self) -> bool {
        !self.reading.incomplete.get()
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
            let help = suggest(key, all.clone().chain(self.later.iter().copied()))
                .unwrap_or_else(|| format!("known here: {}", listed(all)));
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

    fn value<T: Value>(&self, key: &str, value: &Spanned<DeValue<'a>>) -> Option<Located<T>> {
        let place = Place::new(self.source, value.span());
        let written = value.get_ref();
        if let Some(value) = T::read(written) {
            return Some(Located { value, place });
        }
        let message = format!("`{key}` must be {}, not {}", T::EXPECTED, shown(written));
        let near = written.as_str().and_then(|text| suggest(text, T::WORDS.iter().copied()));
        let problem = Problem::new(&place, message);
        self.problem(near.into_iter().fold(problem, Problem::help));
        None
    }

    fn entries_of(
        &self,
        path: &str,
        header: &str,
        place: &Place,
        value: Spanned<DeValue<'a>>,
    ) -> Option<DeTable<'a>> {
        let found = shown(value.get_ref());
        if let DeValue::Table(entries) = value.into_inner() {
            return Some(entries);
        }
        let message = format!("`{path}` must be a table, not {found}");
        self.problem(Problem::new(place, message).help(format!("write [{header}]")));
        None
    }
}

/// A value as messages show it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
