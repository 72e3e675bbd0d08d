//! Wishes on a real disk.
#![expect(clippy::disallowed_methods, reason = "this test writes files")]
use std::fs;
use std::path::PathBuf;

use crate::daemon::store::Store;
use crate::service::admin::{Admin, Mode};

fn admin(reason: &str) -> Admin {
    let since = "2026-11-22T03:00:00.000Z".into();
    Admin { mode: Mode::Drain, reason: Some(reason.into()), since }
}

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn store(name: &str) -> (Directory, Store) {
    let path = std::env::temp_dir().join(format!("vipcast-store-{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("it is not there yet");
    let store = Store { directory: path.join("admin") };
    (Directory(path), store)
}

#[test]
fn what_was_saved_is_found_and_what_was_undone_is_not() {
    let (_directory, store) = store("saved");
    assert!(store.load("").wishes.is_empty() && store.load("").troubles.is_empty());
    store.save(&"web".into(), Some(&admin("one"))).expect("saved");
    store.save(&"dns".into(), Some(&admin("two"))).expect("saved");
    store.save(&"web".into(), Some(&admin("three"))).expect("saved");
    let wishes = [("dns".into(), admin("two")), ("web".into(), admin("three"))];
    assert_eq!(store.load("").wishes, wishes);
    store.save(&"dns".into(), None).expect("saved");
    store.save(&"dns".into(), None).expect("it is gone already");
    assert_eq!(store.load("").wishes, wishes[1..]);
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_service_down() {
    let (_directory, store) = store("unreadable");
    store.save(&"web".into(), Some(&admin("one"))).expect("saved");
    let path = store.directory().join("web.json");
    for text in ["", "{\"mode\": \"dra", "{\"mode\": \"sleep\", \"reason\": null}"] {
        fs::write(&path, text).expect("written");
        let found = store.load("now");
        let [(name, admin)] = &found.wishes[..] else { panic!("{found:?}") };
        assert_eq!((name.as_ref(), admin.mode, admin.since.as_str()), ("web", Mode::Down, "now"));
        let [trouble] = &found.troubles[..] else { panic!("{found:?}") };
        assert!(trouble.contains("web.json") && trouble.contains("stays down"), "{trouble}");
    }
    store.save(&"web".into(), None).expect("it can be undone");
    assert!(store.load("").wishes.is_empty());
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    let (_directory, store) = store("unwritable");
    store.save(&"web".into(), Some(&admin("one"))).expect("saved");
    // Something is in the way of the file that would be written.
    let unfinished = store.directory().join("web.json.new");
    fs::create_dir(&unfinished).expect("made");
    store.save(&"web".into(), Some(&admin("two"))).expect_err("a directory is no file");
    assert_eq!(store.load("").wishes, [("web".into(), admin("one"))]);
}
