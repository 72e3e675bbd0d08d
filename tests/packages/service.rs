//! The service under systemd.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use vipcast_lab::wait;

use super::machine::{Machine, readme_configuration};
use super::{BOUND, run};

/// The README, "First announcement", from top to bottom.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_first_announcement_goes_as_the_readme_says() -> Result<()> {
    let machine = Machine::installed()?;
    machine.configure(&readme_configuration()?)?;
    machine.type_line("vipcastd --check")?;
    machine.type_line("systemctl enable --now vipcast")?;
    machine.wait_routes(5, 1)?;
    let status = machine.type_line("vipcast status")?;
    ensure!(status.contains("tor1  10.0.0.1  Established"), "{status}");
    ensure!(status.contains("203.0.113.5  on lo, announced to 1 of 1 peer"), "{status}");
    let log = machine.type_line("journalctl -u vipcast PEER=tor1")?;
    ensure!(log.contains("tor1"), "{log}");

    machine.configure(&with_second_vip()?)?;
    machine.type_line("systemctl reload vipcast")?;
    machine.wait_routes(6, 1)
}

/// The README's configuration, and 203.0.113.6.
fn with_second_vip() -> Result<String> {
    let text = readme_configuration()?;
    let more = text.replace("[\"203.0.113.5\"]", "[\"203.0.113.5\", \"203.0.113.6\"]");
    ensure!(more != text, "the README has another VIP now");
    Ok(more)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_reload_of_a_broken_configuration_fails_with_the_reason_and_changes_nothing() -> Result<()> {
    let machine = Machine::announcing()?;
    let process = machine.property("MainPID")?;
    machine.configure(&readme_configuration()?.replace("203.0.113.0/24", "192.0.2.0/24"))?;
    machine.run_failing("systemctl reload vipcast")?;
    let log = machine.run("journalctl -u vipcast")?;
    ensure!(log.contains("VIP 203.0.113.5 is outside every pool"), "{log}");
    ensure!(machine.run("systemctl is-active vipcast")?.trim() == "active");
    ensure!(machine.property("MainPID")? == process && machine.routes(5) == 1);
    let status = machine.run("vipcast status")?;
    ensure!(status.contains("the last reload failed"), "{status}");
    let said = machine.run_failing("vipcast reload")?;
    ensure!(said.contains("VIP 203.0.113.5 is outside every pool"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_stop_withdraws_the_route_and_is_a_success() -> Result<()> {
    let machine = Machine::announcing()?;
    machine.run("systemctl stop vipcast")?;
    machine.wait_routes(5, 0)?;
    ensure!(machine.property("Result")? == "success");
    ensure!(machine.property("ExecMainStatus")? == "0");
    ensure!(machine.property("ActiveState")? == "inactive");
    ensure!(machine.run("ip address show dev lo to 203.0.113.5")?.is_empty());
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_killed_daemon_is_started_again_and_adopts_its_vip() -> Result<()> {
    let machine = Machine::announcing()?;
    machine.run("systemd-run --unit=watch ip -o monitor address")?;
    kill_and_wait(&machine, "KILL")?;
    let seen = || machine.run("journalctl --output=cat -u watch");
    ensure!(!seen()?.contains("203.0.113.5"), "the address went, or came anew: {}", seen()?);
    // It is its own again, so it goes with it.
    machine.run("systemctl stop vipcast")?;
    wait::until_true("the address goes", BOUND, || Ok(seen()?.contains("Deleted")))?;
    ensure!(seen()?.contains("203.0.113.5"), "{}", seen()?);
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_daemon_that_hangs_is_killed_by_the_watchdog_and_started_again() -> Result<()> {
    let machine = Machine::announcing()?;
    machine.run("mkdir -p /etc/systemd/system/vipcast.service.d")?;
    let drop_in = "[Service]\nWatchdogSec=3s\n";
    machine.write("/etc/systemd/system/vipcast.service.d/short.conf", drop_in)?;
    machine.run("systemctl daemon-reload && systemctl restart vipcast")?;
    machine.wait_routes(5, 1)?;
    kill_and_wait(&machine, "STOP")?;
    let log = machine.run("journalctl -u vipcast")?;
    ensure!(log.contains("Failed with result 'watchdog'"), "{log}");
    Ok(())
}

/// Sends a signal to the daemon's main process, and waits until systemd has started another one that
/// announces. The router has kept the route meanwhile (RFC 4724).
fn kill_and_wait(machine: &Machine, signal: &str) -> Result<()> {
    let process = machine.property("MainPID")?;
    let before = Instant::now();
    machine.run(&format!("kill -{signal} {process}"))?;
    machine.wait_property("NRestarts", |count| count != "0")?;
    machine.wait_property("ActiveState", |state| state == "active")?;
    wait::until_true("it is announced again", BOUND, || {
        Ok(machine.run("vipcast status || true")?.contains("announced to 1 of 1 peer"))
    })?;
    machine.wait_routes(5, 1)?;
    ensure!(!machine.has_lost_route(5, before), "the router did not keep the route");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn systemd_finds_no_fault_with_the_unit_and_little_exposure() -> Result<()> {
    let machine = Machine::installed()?;
    let said = machine.run("systemd-analyze verify --man=no vipcast.service 2>&1")?;
    ensure!(said.is_empty(), "{said}");
    // 20 is 2.0; the command fails above that.
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold=20", "--no-pager"]);
    run(analyze.arg("systemd/vipcast.service")).context("the exposure is above 2.0").map(drop)
}

/// The limits that the unit raises are not for this container to raise, so that the daemon has the
/// capabilities that stand above them; the calls themselves must pass the sandbox.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_sandbox_lets_bfd_do_all_that_it_wants_to() -> Result<()> {
    const ABOVE_LIMITS: &str = "[Service]\nAmbientCapabilities=CAP_SYS_NICE CAP_IPC_LOCK\n\
                                CapabilityBoundingSet=CAP_SYS_NICE CAP_IPC_LOCK\n";
    let machine = Machine::announcing()?;
    let text = readme_configuration()?;
    let with_echo = text.replace("[peer.tor1]\n", "[peer.tor1]\nbfd = \"echo\"\n");
    ensure!(with_echo != text, "the README has another peer now");
    let profile = "\n[bfd.echo]\necho = \"unaffiliated\"\n";
    machine.configure(&format!("{with_echo}{profile}"))?;
    machine.run("mkdir -p /etc/systemd/system/vipcast.service.d")?;
    machine.write("/etc/systemd/system/vipcast.service.d/limits.conf", ABOVE_LIMITS)?;
    machine.run("systemctl daemon-reload && journalctl --rotate --vacuum-time=1s")?;
    machine.run("systemctl restart vipcast")?;
    wait::until_true("Echo packets come back", BOUND, || {
        Ok(machine.run("vipcast bfd || true")?.contains("came back; round trip"))
    })?;
    let log = machine.run("journalctl --output=cat -u vipcast")?;
    for trouble in ["real-time", "memory is short", "no Echo packets"] {
        ensure!(!log.contains(trouble), "{log}");
    }
    let limits = ["LimitRTPRIO", "LimitMEMLOCK"].map(|name| machine.property(name));
    let [priority, memory] = limits;
    ensure!((priority?.as_str(), memory?.as_str()) == ("20", "infinity"));
    Ok(())
}
