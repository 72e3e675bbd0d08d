//! Guests: what they are told to do, and what becomes of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipcast_lab::guest::{Guest, Job, Outcome, is_inside};

/// Generous: no test is about speed.
const BOUND: Duration = Duration::from_secs(300);

/// Runs a line of shell in a guest.
fn run(line: &str, bound: Duration) -> Result<Outcome> {
    let guest = Guest::prepare(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest"))?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let (files, environment) = ([file.as_path()], [("WORD", "it's said")]);
    guest.run(&Job {
        files: &files,
        environment: &environment,
        command: &["sh", "-c", line],
        bound,
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_command_in_a_guest_has_its_files_and_its_environment_and_says_how_it_ended() -> Result<()> {
    ensure!(!is_inside(), "this is the machine outside");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let line = format!("echo $WORD; head -n 2 {file} | tail -n 1 >&2; exit 7");
    let expected = "it's said\nname = \"vipcast-lab\"\n".to_owned();
    ensure!(run(&line, BOUND)? == Outcome { status: 7, output: expected });
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_guest_has_the_drivers_it_is_for() -> Result<()> {
    let line = "set -e; ip link add red type vrf table 10; ip link add vip0 type dummy;
        ip link add one type veth peer name other; tc qdisc add dev one root netem delay 1ms;
        modprobe cmac; bird --version";
    let outcome = run(line, BOUND)?;
    ensure!(outcome.status == 0 && outcome.output.contains("BIRD version 3"), "{outcome:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_guest_whose_kernel_panics_or_that_takes_too_long_is_an_error_that_says_so() -> Result<()> {
    let error = run("echo last words; echo c >/proc/sysrq-trigger", BOUND).expect_err("a panic");
    let text = format!("{error:#}");
    ensure!(text.contains("last words") && text.contains("sysrq triggered crash"), "{text}");
    let error = run("echo I wait; sleep 1000", Duration::from_secs(10)).expect_err("too long");
    let text = format!("{error:#}");
    ensure!(text.contains("did not end within 10s"), "{text}");
    Ok(())
}
