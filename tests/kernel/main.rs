//! vipcastd on a kernel that has what others lack, with BIRD 3. The kernel of this machine may be
//! any: each test boots a guest, runs itself again there, and only there does what its name says.
//!
//! | file | what |
//! |---|---|
//! | `vrf` | a peer in a VRF, and VIPs there |
//! | `dummy` | VIPs on a device that is made for them |
//! | `tcp_ao` | sessions that are signed by TCP-AO |
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "these tests wait for daemons and look into JSON"
)]

mod dummy;
mod tcp_ao;
mod vrf;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, Transport};
use vipcast_lab::guest::{Guest, Job, is_inside};
use vipcast_lab::router::Kind;
use vipcast_lab::wait;

/// Generous: no test is about speed.
const BOUND: Duration = Duration::from_secs(60);
/// For a whole test, with the boot of its guest.
const ALL: Duration = Duration::from_secs(600);
/// What the test program says of the one test that it shall run.
const PASSED: &str = "test result: ok. 1 passed; 0 failed; 0 ignored;";

const VIPCASTD: &str = env!("CARGO_BIN_EXE_vipcastd");
const VIPCAST: &str = env!("CARGO_BIN_EXE_vipcast");

/// Runs a story, which is the closure that a test consists of, in a guest: outside by running the
/// test of that name again inside.
fn in_guest<Story: FnOnce() -> Result<()>>(story: Story) -> Result<()> {
    if is_inside() {
        return story();
    }
    let name = std::any::type_name::<Story>();
    let name = name.strip_suffix("::{{closure}}").and_then(|name| name.split_once("::"));
    let (_, name) = name.context("a story is a closure in its test")?;
    let program = std::env::current_exe()?;
    let job = Job {
        files: &[&program, Path::new(VIPCASTD), Path::new(VIPCAST)],
        environment: &[],
        command: &[&program.to_string_lossy(), "--exact", name, "--include-ignored", "--nocapture"],
        bound: ALL,
    };
    let guest = Guest::prepare(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest"))?;
    let outcome = guest.run(&job)?;
    let passed = outcome.status == 0 && outcome.output.contains(PASSED);
    // Indented, so that nobody takes its lines for those of the tests out here.
    let output = outcome.output.replace('\n', "\n    ");
    ensure!(passed, "in the guest, with exit status {}:{output}", outcome.status);
    Ok(())
}

/// A BIRD without BFD; it connects, or the host does.
fn bird(transport: Transport, connects: bool) -> TorConfig {
    let mut tor = TorConfig { transport, ..TorConfig::new(Kind::Bird) };
    tor.neighbour.bfd = None;
    tor.neighbour.passive = !connects;
    tor
}

/// One host and these routers.
fn fabric(tors: &[TorConfig]) -> Result<Fabric> {
    Fabric::start(&FabricConfig { hosts: 1, tors: tors.to_vec() })
}

fn start(fabric: &Fabric, configuration: &str) -> Result<Daemon> {
    let binaries = Path::new(VIPCASTD).parent().context("a folder")?;
    Daemon::start(fabric.host(1), binaries, configuration)
}

/// Waits until the status has this, and says what it had instead if it never does.
fn wait_status(daemon: &Daemon, what: &str, truth: impl Fn(&Value) -> bool) -> Result<Value> {
    let status = || daemon.status();
    wait::until(what, BOUND, || Ok(status().ok().filter(&truth)))
        .with_context(|| format!("{what}: {:#}", status().unwrap_or_default()))
}
