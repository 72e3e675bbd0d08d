//! The `exec` probe: what programs say, what they must not be able to do, and that nothing is left of
//! them.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command as Process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use vipcast::check::driver::{self, Command, Generation, Report};
use vipcast::check::schedule::Pace;
use vipcast::check::{Check, CheckId, Outcome};
use vipcast::process::Surroundings;

use super::{PATIENCE, check, failed, outcomes_of, probe};

/// A folder of its own, removed with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("vipcast-exec-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What a script wrote there, once it has ended a line.
    fn wait_for(&self, name: &str) -> String {
        let mut text = String::new();
        wait_until(|| {
            text = fs::read_to_string(self.path(name)).unwrap_or_default();
            text.ends_with('\n')
        });
        text.trim().into()
    }
}

/// Much more than any script here needs.
const LONG: &str = "timeout = \"50s\"\ninterval = \"1m\"";
/// Enough to begin, for those that are to be too slow.
const SHORT: &str = "timeout = \"1s\"\ninterval = \"1m\"";

fn keys(script: &str, more: &str) -> String {
    format!("exec = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}")
}

fn run(script: &str) -> Result<(), String> {
    probe(&keys(script, LONG))
}

fn wait_until(mut truth: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !truth() {
        assert!(begun.elapsed() < PATIENCE, "it never came true");
        sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; one that only waits for its parent to take notice does not.
fn is_alive(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// Our children, the dead ones too.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let all = fs::read_dir("/proc").expect("processes").flatten();
    let all = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let ours = all.filter(|stat| {
        let (_, rest) = stat.rsplit_once(") ").expect("a name");
        rest.split(' ').nth(1) == Some(&own)
    });
    ours.collect()
}

#[test]
fn the_exit_status_says_whether_it_is_healthy_and_the_first_line_why_not() {
    assert_eq!(run("exit 0"), Ok(()));
    assert_eq!(run("echo fine; echo odd >&2"), Ok(()));
    assert_eq!(run("exit 1"), failed("exit status 1"));
    assert_eq!(run("echo a >&2; echo; echo b; echo c; exit 7"), failed("exit status 7: b"));
    assert_eq!(run("echo no such host >&2; exit 2"), failed("exit status 2: no such host"));
    let long = run("head -c 10000 /dev/zero | tr '\\0' x; exit 3").expect_err("a failure");
    assert!(long.starts_with("exit status 3: xxx"), "{long}");
    assert_eq!(long.len(), 200);
}

#[test]
fn with_nagios_a_warning_is_healthy_and_numbers_for_graphs_are_left_out() {
    let run = |script: &str| probe(&keys(script, "nagios = true"));
    assert_eq!(run("exit 0"), Ok(()));
    assert_eq!(run("echo 'DISK WARNING | /=2643MB;5948'; exit 1"), Ok(()));
    let critical = failed("exit status 2: DISK CRITICAL - 3% left");
    assert_eq!(run("echo 'DISK CRITICAL - 3% left | /=2643MB;5948'; exit 2"), critical);
    assert_eq!(run("exit 3"), failed("exit status 3"));
    assert_eq!(run("exit 127"), failed("exit status 127"));
}

#[test]
fn a_signal_that_ends_it_is_called_by_its_name() {
    assert_eq!(run("echo half; kill -SEGV $$"), failed("killed by SIGSEGV: half"));
    assert_eq!(run("kill -KILL $$"), failed("killed by SIGKILL"));
}

#[test]
fn what_cannot_be_run_is_named_and_why() {
    let folder = Folder::new("cannot");
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        path
    };
    let run = |path: &str| probe(&format!("exec = [\"{path}\"]"));
    let expect = |path: &str, why: &str| {
        assert_eq!(run(path), failed(&format!("cannot run {path}: {why}")));
    };
    let denied = "permission denied (it must be executable for the user that vipcastd runs as)";
    expect(&folder.path("absent"), "no such file or directory");
    expect(&file("plain", "#!/bin/sh\n", 0o644), denied);
    expect(&folder.0.display().to_string(), denied);
    let interpreter = "the interpreter that its first line names is not there";
    expect(&file("lost", "#!/nonexistent/sh\n", 0o755), interpreter);
    let format = "exec format error (the first line of a script is #! and its interpreter)";
    expect(&file("headless", "exit 0\n", 0o755), format);
}

#[test]
fn one_that_is_too_slow_is_killed_with_all_that_it_started_whatever_it_ignores() {
    let folder = Folder::new("slow");
    let file = folder.path("processes");
    let script = format!(
        "trap \"\" TERM INT HUP; sleep 1000 & echo $$ $! > {file}.part; mv {file}.part {file}; \
         while :; do sleep 1000; done"
    );
    assert_eq!(probe(&keys(&script, SHORT)), failed("/bin/sh did not end within 1s"));
    for process in folder.wait_for("processes").split(' ') {
        wait_until(|| !is_alive(process));
    }
}

#[test]
fn what_it_leaves_behind_neither_holds_the_probe_up_nor_lives_on() {
    let folder = Folder::new("left");
    let script = format!("sleep 1000 & echo $! > {}; echo x; exit 3", folder.path("process"));
    assert_eq!(run(&script), failed("exit status 3: x"));
    wait_until(|| !is_alive(&folder.wait_for("process")));
}

#[test]
fn what_leaves_its_group_lives_on_and_does_not_hold_the_probe_up_either() {
    let folder = Folder::new("gone");
    let file = folder.path("process");
    let script = format!(
        "setsid sh -c \"echo \\\\$\\\\$ > {file}; exec sleep 1000\" & \
         until [ -s {file} ]; do sleep 0.01; done; echo x; exit 3"
    );
    let script = script.replace("\\\\$", "\\$");
    assert_eq!(run(&script), failed("exit status 3: x"));
    let process = folder.wait_for("process");
    assert!(is_alive(&process));
    let killed = Process::new("kill").args(["-KILL", &process]).status();
    assert!(killed.expect("kill runs").success());
}

#[test]
fn one_that_writes_more_than_a_pipe_takes_is_read_to_its_end() {
    assert_eq!(run("head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2"), Ok(()));
}

#[test]
fn it_may_close_its_output_and_go_on() {
    assert_eq!(run("exec >&- 2>&-; sleep 0.2; exit 4"), failed("exit status 4"));
}

/// Runs a test of this name in a process of its own, where nothing else opens files and starts
/// processes; whether this is it.
fn is_alone(test: &str, by: &[&str]) -> bool {
    const ALONE: &str = "VIPCAST_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("a path").display().to_string();
    let words = [by, &[&own, "--exact", test, "--include-ignored", "--nocapture"]].concat();
    let (program, arguments) = words.split_first().expect("a program");
    let output = Process::new(program).args(arguments).env(ALONE, "1").output().expect("runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

/// The most memory that this process ever had, in KiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("memory");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// A check that runs.
struct Running {
    checks: driver::Handle,
    reports: mpsc::Receiver<Report>,
}

impl Running {
    fn start(check: Check) -> Self {
        Self::start_told(None, check)
    }

    /// The service has been told of before.
    fn start_told(told: Option<Surroundings>, check: Check) -> Self {
        let (sender, reports) = mpsc::channel(16);
        let checks = driver::spawn(1, sender).expect("a thread");
        let running = Self { checks, reports };
        if let Some(told) = told {
            running.send(Command::Tell(Self::id().service, told));
        }
        running.send(Command::Start(Self::id(), check.into(), Generation(1)));
        running
    }

    fn id() -> CheckId {
        CheckId { service: "s".into(), check: "c".into() }
    }

    fn send(&self, command: Command) {
        self.checks.send(command);
    }

    fn outcome(&mut self) -> Outcome {
        self.reports.blocking_recv().expect("the driver runs").outcome
    }
}

/// As often as it can.
fn busy(script: &str) -> Check {
    let check = check(&keys(script, LONG));
    let least = Duration::from_micros(100);
    let pace = Pace { steady: least, changing: least, down: least, jitter_percent: 0 };
    Check { pace, ..check }
}

#[test]
fn a_thousand_runs_leave_no_process_and_no_descriptor() {
    if !is_alone("exec::a_thousand_runs_leave_no_process_and_no_descriptor", &["/usr/bin/env"]) {
        return;
    }
    let mut quick = Running::start(busy("sleep 1000 & exit 1"));
    // The first one opens what all of them share.
    quick.outcome();
    quick.send(Command::Stop(Running::id()));
    wait_until(|| children().is_empty());
    let before = descriptors();
    quick.send(Command::Start(Running::id(), busy("sleep 1000 & exit 1").into(), Generation(2)));
    for _ in 0..1000 {
        assert_eq!(quick.outcome().result.map_err(|e| e.to_string()), failed("exit status 1"));
    }
    quick.send(Command::Stop(Running::id()));
    wait_until(|| children().is_empty() && descriptors() <= before);
    // Nor do those whose time runs out.
    let mut slow = busy("sleep 1000");
    slow.timeout = Duration::from_millis(5);
    quick.send(Command::Start(Running::id(), slow.into(), Generation(3)));
    let outcomes = std::iter::from_fn(|| Some(quick.outcome()));
    let slow = outcomes
        .filter(|outcome| outcome.result.clone().is_err_and(|e| e.to_string().contains("within")));
    assert_eq!(slow.take(100).count(), 100);
    quick.send(Command::Stop(Running::id()));
    wait_until(|| children().is_empty() && descriptors() <= before);
}

#[test]
fn endless_output_takes_no_memory() {
    if !is_alone("exec::endless_output_takes_no_memory", &["/usr/bin/env"]) {
        return;
    }
    assert_eq!(run("exit 0"), Ok(()));
    let before = peak();
    let endless = probe(&keys("yes & exec yes >&2", SHORT));
    assert_eq!(endless, failed("/bin/sh did not end within 1s"));
    assert_eq!(run("head -c 100000000 /dev/zero"), Ok(()));
    let grown = peak() - before;
    assert!(grown < 4096, "{grown} KiB more");
}

#[test]
fn a_check_that_is_stopped_ends_its_program() {
    let folder = Folder::new("stopped");
    let script = format!("echo $$ > {}; exec sleep 1000", folder.path("process"));
    let running = Running::start(check(&keys(&script, LONG)));
    let process = folder.wait_for("process");
    assert!(is_alive(&process));
    running.send(Command::Stop(Running::id()));
    wait_until(|| !is_alive(&process));
}

#[test]
fn when_the_daemon_stops_all_programs_have_ended_before_it_is_told_so() {
    let folder = Folder::new("daemon");
    let script = format!("echo $$ > {}; exec sleep 1000", folder.path("process"));
    let Running { checks, mut reports } = Running::start(check(&keys(&script, LONG)));
    let process = folder.wait_for("process");
    drop(checks);
    assert!(reports.blocking_recv().is_none());
    wait_until(|| !is_alive(&process));
}

/// What a process that is run finds: lines of "name value".
fn surroundings(told: Option<Surroundings>) -> BTreeMap<String, String> {
    let number = std::thread::current().name().unwrap_or_default().replace(':', "");
    let folder = Folder::new(&number);
    let file = folder.path("found");
    // The shell itself reads the status: while it starts another program, its signals are blocked.
    let script = format!(
        "exec 3> {file}.part; cd /proc/$$; tr \"\\\\0\" \"\\\\n\" < environ | sed \"s/^/env /\" >&3; \
         echo group $(cut -d \" \" -f 5 stat) $$ >&3; echo stdin $(readlink fd/0) >&3; \
         while read -r line; do case $line in Sig[BI]*|Cap*) echo \"$line\" >&3;; esac; done < status; \
         echo open $(readlink fd/*) >&3; \
         until grep -q \"realtime priority *0 *0\" limits; do sleep 0.01; done; \
         tr -s \" \" < limits | sed -n \"s/^Max realtime priority/rtprio/p; s/^Max locked memory/memlock/p\" \
         >&3; echo folder $OLDPWD >&3; \
         echo policy $(cut -d \" \" -f 41 stat) >&3; echo end >&3; mv {file}.part {file}"
    );
    let mut running = Running::start_told(told, check(&keys(&script, LONG)));
    assert_eq!(running.outcome().result, Ok(()));
    let text = fs::read_to_string(&file).expect("it wrote that");
    let lines = text.lines().filter_map(|line| {
        let line =
            line.strip_prefix("env ").map_or(line.to_owned(), |env| env.replacen('=', " ", 1));
        line.split_once([' ', '\t']).map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
    });
    lines.collect()
}

#[test]
fn its_environment_is_clean_and_says_what_it_checks() {
    let vips = vec!["203.0.113.5".parse().expect("an address"), "::5".parse().expect("an address")];
    let found = surroundings(Some(Surroundings { vips, state: "up" }));
    let names: Vec<&str> = found
        .keys()
        .map(String::as_str)
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    let expected =
        ["LANG", "PATH", "VIPCAST_CHECK", "VIPCAST_SERVICE", "VIPCAST_STATE", "VIPCAST_VIPS"];
    assert_eq!(names, expected);
    for (name, value) in [
        ("LANG", "C"),
        ("VIPCAST_CHECK", "c"),
        ("VIPCAST_SERVICE", "s"),
        ("VIPCAST_STATE", "up"),
        ("VIPCAST_VIPS", "203.0.113.5 ::5"),
        ("stdin", "/dev/null"),
        ("folder", "/"),
        ("SigBlk:", "0000000000000000"),
        ("policy", "0"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name} of {found:?}");
    }
    // Rust ignores SIGPIPE (13), so that `yes | head` would not end.
    let ignored = u64::from_str_radix(&found["SigIgn:"], 16).expect("a set of signals");
    assert_eq!(ignored & 1 << 12, 0);
    let open = &found["open"];
    assert!(open.starts_with("/dev/null pipe:"), "{open}");
    assert!(!open.contains("socket:") && !open.contains("anon_inode:"), "{open}");
    let (group, own) = found["group"].split_once(' ').expect("two numbers");
    assert_eq!(group, own, "it leads its group");
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn neither_capabilities_nor_limits_of_the_daemon_reach_it() {
    let name = "exec::neither_capabilities_nor_limits_of_the_daemon_reach_it";
    // As systemd does it for the daemon; not everywhere may root raise limits.
    let by = [
        "setpriv",
        "--inh-caps=+net_admin,+net_raw",
        "--ambient-caps=+net_admin,+net_raw",
        "--reuid=nobody",
        "--clear-groups",
    ];
    let raised = "ulimit -r 20; ulimit -l unlimited; exec \"$@\"";
    let by = [&["sh", "-c", raised, "sh"], &by[..]].concat();
    if !is_alone(name, &by) {
        return;
    }
    let own = fs::read_to_string("/proc/self/status").expect("a status");
    let own = own.lines().find_map(|line| line.strip_prefix("CapAmb:")).expect("capabilities");
    assert_ne!(own.trim(), "0000000000000000", "there is something to be lost");
    let found = surroundings(None);
    for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(found[set], "0000000000000000", "{set}");
    }
    assert_eq!(found["rtprio"], "0 0");
    assert_eq!(found["memlock"], "8388608 8388608 bytes");
}

#[test]
fn it_never_runs_twice_at_a_time() {
    let folder = Folder::new("twice");
    let lock = folder.path("lock");
    let script = format!("mkdir {lock} || exit 9; sleep 0.02; rmdir {lock}");
    let failures: Vec<Outcome> =
        outcomes_of(busy(&script), 20).into_iter().filter(|o| o.result.is_err()).collect();
    assert!(failures.is_empty(), "{failures:?}");
}
