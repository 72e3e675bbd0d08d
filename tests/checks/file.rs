//! The `file` probe, and how it hears of changes.
use std::fs;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use vipcast::check::CheckId;
use vipcast::check::driver::{self, Command, Generation, Report};

use super::{check, failed, probe};

/// A folder of its own, removed with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("vipcast-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

fn touch(path: &str) {
    fs::write(path, "").expect("a file");
}

/// A check that runs.
struct Running {
    _checks: driver::Handle,
    reports: mpsc::Receiver<Report>,
}

impl Running {
    fn start(keys: &str) -> Self {
        let (sender, reports) = mpsc::channel(16);
        let checks = driver::spawn(1, sender).expect("a thread");
        let id = CheckId { service: "s".into(), check: "c".into() };
        let start = Command::Start(id, check(keys).into(), Generation(1));
        checks.send(start);
        Self { _checks: checks, reports }
    }

    /// Waits for an outcome with this result.
    fn wait_for(&mut self, expected: &Result<(), String>) {
        loop {
            let report = self.reports.blocking_recv().expect("the driver runs");
            if report.outcome.result.map_err(|failure| failure.to_string()) == *expected {
                return;
            }
        }
    }
}

/// What is seen at this interval within the life of a test was not polled.
const NEVER: &str = "interval = \"1h\"";

#[test]
fn a_file_must_be_there_or_must_not() {
    let folder = Folder::new("there");
    let path = folder.path("flag");
    assert_eq!(probe(&format!("file = \"{path}\"")), failed(&format!("{path} is not there")));
    assert_eq!(probe(&format!("file = \"{path}\"\npresent = false")), Ok(()));
    touch(&path);
    assert_eq!(probe(&format!("file = \"{path}\"")), Ok(()));
    let absent = probe(&format!("file = \"{path}\"\npresent = false"));
    assert_eq!(absent, failed(&format!("{path} is there")));
    // Nothing can be in a file.
    assert_eq!(probe(&format!("file = \"{path}/x\"\npresent = false")), Ok(()));
    assert_eq!(probe(&format!("file = \"{}\"", folder.0.display())), Ok(()));
}

#[test]
fn a_path_that_cannot_be_looked_at_is_a_failure_either_way() {
    let folder = Folder::new("loop");
    let path = folder.path("link");
    std::os::unix::fs::symlink(&path, &path).expect("a link to itself");
    let text = format!("cannot look at {path}: too many symbolic links encountered");
    for present in [true, false] {
        assert_eq!(probe(&format!("file = \"{path}\"\npresent = {present}")), failed(&text));
    }
}

#[test]
fn what_comes_and_goes_is_seen_at_once() {
    let folder = Folder::new("changes");
    let path = folder.path("drain");
    let there = failed(&format!("{path} is there"));
    let mut running = Running::start(&format!("file = \"{path}\"\npresent = false\n{NEVER}"));
    running.wait_for(&Ok(()));
    for _ in 0..3 {
        touch(&path);
        running.wait_for(&there);
        fs::remove_file(&path).expect("it is there");
        running.wait_for(&Ok(()));
    }
    let elsewhere = folder.path("elsewhere");
    touch(&elsewhere);
    fs::rename(&elsewhere, &path).expect("moved in");
    running.wait_for(&there);
    fs::rename(&path, &elsewhere).expect("moved out");
    running.wait_for(&Ok(()));
}

#[test]
fn a_folder_may_come_later_and_go() {
    let folder = Folder::new("later");
    let inner = folder.path("a/b");
    let path = folder.path("a/b/flag");
    let absent = failed(&format!("{path} is not there"));
    let mut running = Running::start(&format!("file = \"{path}\"\n{NEVER}"));
    running.wait_for(&absent);
    for _ in 0..3 {
        fs::create_dir_all(&inner).expect("folders");
        touch(&path);
        running.wait_for(&Ok(()));
        fs::rename(folder.path("a/b"), folder.path("a/c")).expect("moved");
        running.wait_for(&absent);
        fs::rename(folder.path("a/c"), folder.path("a/b")).expect("moved back");
        running.wait_for(&Ok(()));
        fs::remove_dir_all(folder.path("a")).expect("it is there");
        running.wait_for(&absent);
    }
}

#[test]
fn what_inotify_does_not_see_is_polled() {
    let folder = Folder::new("polled");
    fs::create_dir(folder.path("a")).expect("a folder");
    fs::create_dir(folder.path("b")).expect("a folder");
    touch(&folder.path("b/flag"));
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, Path::new(&folder.path(name))).expect("a link");
    };
    link("a", "now");
    let path = folder.path("now/flag");
    let mut running = Running::start(&format!("file = \"{path}\"\ninterval = \"20ms\""));
    running.wait_for(&failed(&format!("{path} is not there")));
    // Nothing happens in the folder that is watched, which is the one called a.
    link("b", "next");
    fs::rename(folder.path("next"), folder.path("now")).expect("moved over it");
    running.wait_for(&Ok(()));
}
