//! Hooks are real programs here.
use std::time::Duration;

use crate::daemon::hooks::Hooks;
use crate::process::{Environment, Program, Surroundings};
use crate::service::hooks::{Hook, Report, Run};

fn run(service: &str, script: &str, timeout: Duration) -> Run {
    let program =
        Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.to_owned()] };
    let environment = Environment {
        service: service.into(),
        check: None,
        surroundings: Surroundings::default(),
        reason: Some("no power".into()),
    };
    Run { hook: Hook::Down, program, environment, timeout }
}

const LONG: Duration = Duration::from_secs(60);

/// Waits for the end of so many; by service.
fn reports(hooks: &mut Hooks, count: usize) -> Vec<(String, Result<(), String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut ended: Vec<_> = (0..count)
        .map(|_| {
            let report = runtime.block_on(hooks.ended()).expect("somebody may report");
            let Report { service, result, .. } = report;
            (service.to_string(), result.map_err(|failure| failure.to_string()))
        })
        .collect();
    ended.sort();
    ended
}

#[test]
fn a_hook_tells_how_it_ended() {
    let mut hooks = Hooks::new();
    hooks.run(run("a", "exit 0", LONG));
    hooks.run(run("b", "echo \"$VIPCAST_SERVICE $VIPCAST_REASON\"; exit 3", LONG));
    hooks.run(run("c", "[ -z \"${VIPCAST_CHECK+x}\" ] || exit 1", LONG));
    let failed = Err("exit status 3: b no power".into());
    let expected = [("a".into(), Ok(())), ("b".into(), failed), ("c".into(), Ok(()))];
    assert_eq!(reports(&mut hooks, 3), expected);
}

#[test]
fn one_that_takes_too_long_is_killed_and_holds_up_no_other() {
    let mut hooks = Hooks::new();
    hooks.run(run("slow", "sleep 1000", Duration::from_millis(200)));
    hooks.run(run("quick", "exit 0", LONG));
    let late = Err("/bin/sh did not end within 200ms".into());
    let expected = [("quick".into(), Ok(())), ("slow".into(), late)];
    assert_eq!(reports(&mut hooks, 2), expected);
}

#[test]
fn at_the_end_nothing_is_left_of_them() {
    let mut hooks = Hooks::new();
    let file = std::env::temp_dir().join(format!("vipcast-hooks-{}", std::process::id()));
    let begun = format!("echo $$ > {0}.part; mv {0}.part {0}; exec sleep 1000", file.display());
    hooks.run(run("a", &begun, LONG));
    while !file.exists() {
        std::thread::yield_now();
    }
    let process = std::fs::read_to_string(&file).expect("it is there");
    std::fs::remove_file(&file).expect("it is there");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(hooks.end());
    let status = || std::fs::read_to_string(format!("/proc/{}/status", process.trim()));
    while status().is_ok_and(|status| status.contains("sleeping")) {
        std::thread::yield_now();
    }
}
