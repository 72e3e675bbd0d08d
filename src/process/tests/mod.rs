//! What programs are told, and what is made of their end. Real ones run in `tests/checks/exec.rs`.
use super::{Ended, Environment, Program, Status, Surroundings};

fn program(arguments: &[&str]) -> String {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Program { path: "/usr/lib/web/check".into(), arguments }.to_string()
}

#[test]
fn arguments_that_a_shell_would_take_apart_are_shown_in_quotes() {
    assert_eq!(program(&[]), "/usr/lib/web/check");
    assert_eq!(program(&["--fast", "-t5"]), "/usr/lib/web/check --fast -t5");
    assert_eq!(program(&["-c", "a b", ""]), "/usr/lib/web/check -c \"a b\" \"\"");
    assert_eq!(program(&["a\nb\u{1b}"]), "/usr/lib/web/check \"a\\nb\\u{1b}\"");
}

#[test]
fn the_environment_says_which_service_and_why() {
    let vips = ["203.0.113.5", "2001:db8::5"].map(|vip| vip.parse().expect("an address"));
    let surroundings = Surroundings { vips: vips.into(), state: "down" };
    let (service, check) = ("web".into(), Some("alive".into()));
    let mut environment = Environment { service, check, surroundings, reason: None };
    let told = |environment: &Environment| {
        let variables = environment.variables().into_iter();
        variables.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let of_check = [
        "VIPCAST_SERVICE=web",
        "VIPCAST_VIPS=203.0.113.5 2001:db8::5",
        "VIPCAST_STATE=down",
        "VIPCAST_CHECK=alive",
    ];
    assert_eq!(told(&environment), of_check);
    environment.check = None;
    // A NUL would end it, and nothing could be run with it.
    environment.reason = Some("drained: a\0b\nc".into());
    let told = told(&environment);
    assert_eq!(told[..3], of_check[..3]);
    assert_eq!(told[3..], ["VIPCAST_REASON=drained: a b c"]);
}

#[test]
fn an_end_is_told_with_the_first_line_of_stdout_or_else_of_stderr() {
    let shown = |status, stdout: &str, stderr: &str| {
        Ended::new(status, stdout.as_bytes(), stderr.as_bytes()).to_string()
    };
    let two = Status::Exited(2);
    assert_eq!(shown(two, "", ""), "exit status 2");
    assert_eq!(shown(two, "disk full\nmore\n", "err"), "exit status 2: disk full");
    assert_eq!(shown(two, "\n  \n", "\r\nno such host\r\n"), "exit status 2: no such host");
    assert_eq!(shown(Status::Killed(11), "", ""), "killed by SIGSEGV");
    assert_eq!(shown(Status::Killed(9), "", "x"), "killed by SIGKILL: x");
    assert_eq!(shown(Status::Killed(40), "", ""), "killed by signal 40");
    let broken = Ended::new(two, b"\xff\xfe!\n", b"");
    assert_eq!(broken.line.as_deref(), Some("\u{fffd}\u{fffd}!"));
}
