//! What the operator wants with a service, under systemd.
use anyhow::{Result, ensure};
use vipcast_lab::wait;

use super::BOUND;
use super::machine::Machine;

/// Its check has had a result, and is up.
fn wait_checked(machine: &Machine) -> Result<String> {
    let mut status = String::new();
    wait::until_true("the check is up", BOUND, || {
        status = machine.run("vipcast status || true")?;
        Ok(status.contains("● check"))
    })?;
    Ok(status)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_drained_service_stays_so_over_a_restart_and_a_crash_until_that_is_undone() -> Result<()> {
    let machine = Machine::announcing()?;
    machine.run("vipcast drain web --wait --reason 'new kernel'")?;
    ensure!(machine.routes(5) == 0, "the router was told before the command came back");
    for line in ["systemctl restart vipcast", "pkill -KILL vipcastd"] {
        machine.run(line)?;
        let status = wait_checked(&machine)?;
        ensure!(status.contains("drained: new kernel ("), "{line}: {status}");
        ensure!(status.contains("undo: vipcast undrain web"), "{line}: {status}");
        ensure!(machine.routes(5) == 0, "{line}: {status}");
    }
    machine.run("vipcast undrain web --wait")?;
    machine.wait_routes(5, 1)?;
    let log = machine.run("journalctl --output=cat -u vipcast SERVICE=web")?;
    ensure!(log.contains("service web: draining for 5s: new kernel"), "{log}");
    ensure!(log.contains("service web: drained no longer"), "{log}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn admin_down_is_for_root_to_say_and_a_drain_does_not_undo_it() -> Result<()> {
    let machine = Machine::announcing()?;
    let said = machine.run_failing("setpriv --reuid=nobody --clear-groups vipcast admin web")?;
    ensure!(said.contains("only root and the user of vipcastd may do that"), "{said}");
    ensure!(machine.routes(5) == 1);
    machine.run("vipcast admin web --wait")?;
    ensure!(machine.routes(5) == 0);
    let said = machine.run_failing("vipcast undrain web")?;
    ensure!(said.contains("undo that with: vipcast admin web up"), "{said}");
    let said = machine.run("systemctl status vipcast")?;
    ensure!(said.contains("1 taken out by the operator"), "{said}");
    let said = machine.run_failing("vipcast drain wbe")?;
    ensure!(said.contains("no service wbe; there are: web"), "{said}");
    machine.run("vipcast admin web up --wait")?;
    machine.wait_routes(5, 1)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_cannot_be_kept_is_refused_and_changes_nothing() -> Result<()> {
    let machine = Machine::announcing()?;
    machine.run("systemctl stop vipcast && mkdir -p /var/lib/vipcast/admin")?;
    // With room for the directory itself, and nothing in it.
    let options = "size=4k,nr_inodes=1,mode=700,uid=$(id -u vipcast)";
    machine.run(&format!("mount -t tmpfs -o {options} full /var/lib/vipcast/admin"))?;
    machine.run("systemctl start vipcast")?;
    machine.wait_routes(5, 1)?;
    let said = machine.run_failing("vipcast drain web")?;
    let expected = "cannot write to /var/lib/vipcast/admin, nothing is changed: no space left";
    ensure!(said.contains(expected), "{said}");
    ensure!(machine.routes(5) == 1, "it is withdrawn");
    // What need not be kept can be done.
    machine.run("vipcast drain web --runtime --wait")?;
    ensure!(machine.routes(5) == 0);
    machine.run("vipcast undrain web --runtime --wait")?;
    machine.wait_routes(5, 1)
}
