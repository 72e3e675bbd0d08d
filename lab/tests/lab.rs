//! A lab leaves nothing behind, however it ends.

mod traces;

use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipcast_lab::fabric::{Fabric, FabricConfig, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::process::Process;
use vipcast_lab::site::{Site, directory_of};
use vipcast_lab::wait;

use traces::{Traces, sessions, traces};

const BOUND: Duration = Duration::from_secs(60);

/// A fabric with everything in it: a frozen service, a killed one whose worker lives on, a fault,
/// traffic.
fn use_a_fabric() -> Result<(String, Vec<u32>, impl Sized)> {
    let fabric = Fabric::start(&FabricConfig { hosts: 3, ..FabricConfig::default() })?;
    let announcer = fabric.announce_with_bird(1, &vip(5))?;
    let traffic = fabric.client.keep_asking(vip(5)[0].addr(), 20)?;
    fabric.host(1).nginx.process().freeze()?;
    fabric.host(2).nginx.process().signal(Signal::SIGKILL)?;
    let fault = Fault::inject(fabric.host(1).ends(), &Loss::Everything)?;
    let mut command = fabric.host(3).namespace.command("sh");
    // A grandchild in a process group of its own, as an exec probe is.
    command.args(["-mc", "sleep 1000 & wait"]);
    let probe = Process::start(&fabric.host(3).namespace, "probe", &command)?;
    let name = fabric.site().name().to_owned();
    let sessions = sessions(&name);
    let found = traces(&name, &sessions)?;
    ensure!(found.namespaces.len() == 6 && found.processes.len() > 10, "not running: {found:?}");
    Ok((name, sessions, (fabric, announcer, traffic, fault, probe)))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn nothing_is_left_after_a_drop() -> Result<()> {
    let (name, sessions, things) = use_a_fabric()?;
    drop(things);
    assert_eq!(traces(&name, &sessions)?, Traces::default());
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn nothing_is_left_after_a_panic() -> Result<()> {
    let (name, sessions, things) = use_a_fabric()?;
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let _things = things;
        panic::resume_unwind(Box::new("a test fails"));
    }));
    assert!(outcome.is_err());
    assert_eq!(traces(&name, &sessions)?, Traces::default());
    Ok(())
}

fn lab(name: &str, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args([verb, "--name", name]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn pid(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn lab_up_stays_and_lab_down_removes_it() -> Result<()> {
    let name = format!("up{}", std::process::id());
    ensure!(lab(&name, "up").status()?.success());
    ensure!(!lab(&name, "up").status()?.success(), "two labs of one name");
    let status = lab(&name, "status").stdout(Stdio::piped()).output()?;
    let text = String::from_utf8(status.stdout)?;
    ensure!(status.status.success() && text.contains("tor2/bgpd        runs"), "{text}");
    ensure!(!text.contains("is gone"), "{text}");
    let sessions = sessions(&name);
    let found = traces(&name, &sessions)?;
    ensure!(found.namespaces.len() == 6 && found.processes.len() == 10, "{found:?}");
    // A person in a namespace is none of the lab's business, but shall not keep it from going.
    let mut person = Command::new("ip");
    let mut person =
        person.args(["netns", "exec", &format!("{name}-host1"), "sleep", "1000"]).spawn()?;
    let removed = lab(&name, "down").status()?.success();
    let alive = person.try_wait()?.is_none();
    person.kill()?;
    person.wait()?;
    ensure!(removed && alive, "removed: {removed}, the person is alive: {alive}");
    assert_eq!(traces(&name, &sessions)?, Traces::default());
    ensure!(!lab(&name, "down").status()?.success(), "nothing to remove, yet success");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_interrupted_lab_up_leaves_nothing() -> Result<()> {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL];
    for (number, milliseconds) in [0, 5, 20, 50, 100, 150, 200, 250, 300, 350].iter().enumerate() {
        for signal in signals {
            let name = format!("int{}x{number}", std::process::id());
            let mut child = lab(&name, "up").spawn()?;
            thread::sleep(Duration::from_millis(*milliseconds));
            let sessions = sessions(&name);
            kill(pid(&child)?, signal)?;
            let status = child.wait()?;
            if status.success() {
                Site::remove(&name)?;
            } else if directory_of(&name)?.join("about").exists() {
                // It may have come too late, when the lab had been told to stay.
                let _ = Site::remove(&name);
            } else {
                let by_itself = status.code() == Some(128 + signal as i32);
                ensure!(by_itself || status.signal() == Some(signal as i32), "{signal}: {status}");
            }
            // After SIGKILL the guard needs a moment.
            wait::until_true("nothing is left", BOUND, || {
                Ok(traces(&name, &sessions)? == Traces::default())
            })
            .with_context(|| {
                format!("{signal} after {milliseconds} ms: {:?}", traces(&name, &sessions))
            })?;
        }
    }
    Ok(())
}
