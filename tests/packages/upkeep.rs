//! Installation, upgrade and removal.

use anyhow::{Result, ensure};

use super::machine::{Machine, inside, readme_configuration};
use super::packages;

const CONFIGURATION: &str = "/etc/vipcast/vipcast.toml";
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/vipcast.service";

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_installation_starts_nothing_and_says_what_is_to_be_configured() -> Result<()> {
    let machine = Machine::installed()?;
    ensure!(machine.property("ActiveState")? == "inactive");
    ensure!(!machine.has(ENABLED));
    machine.run("getent passwd vipcast")?;
    let said = machine.run_failing("vipcastd --check")?;
    ensure!(said.contains("write [bgp] and under it local-asn"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_upgrade_restarts_what_runs_and_keeps_the_configuration() -> Result<()> {
    let machine = Machine::announcing()?;
    let before = machine.property("MainPID")?;
    machine.install()?;
    ensure!(machine.property("MainPID")? != before);
    ensure!(machine.property("ActiveState")? == "active" && machine.has(ENABLED));
    ensure!(machine.run(&format!("cat {CONFIGURATION}"))? == readme_configuration()?);
    machine.wait_routes(5, 1)?;

    machine.run("systemctl stop vipcast")?;
    machine.install()?;
    ensure!(machine.property("ActiveState")? == "inactive", "what is stopped stays so");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_removal_stops_it_and_a_purge_leaves_nothing() -> Result<()> {
    let machine = Machine::announcing()?;
    machine.run("apt-get remove -y -q vipcast")?;
    machine.wait_routes(5, 0)?;
    for program in ["/usr/sbin/vipcastd", "/usr/bin/vipcast"] {
        ensure!(!machine.has(program), "{program}");
    }
    ensure!(machine.property("LoadState")? == "not-found");
    ensure!(machine.run("ip address show dev lo to 203.0.113.5")?.is_empty());
    ensure!(machine.has(CONFIGURATION), "a removal keeps the configuration");
    machine.run("apt-get purge -y -q vipcast")?;
    let left = machine.run(
        "find / -xdev -name '*vipcast*' -not -path '/proc/*' -not -path '/packages/*' \
         -not -path '/var/log/*' -not -path '/var/cache/*'",
    )?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

/// The scripts of the RPM package do the same, also on Debian, whose rpm can be told to install it.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_rpm_package_is_installed_upgraded_and_removed_likewise() -> Result<()> {
    let machine = Machine::boot()?;
    let rpm = inside(&packages()?.rpm)?;
    machine.run(&format!("rpm --install --nodeps --force-debian {rpm}"))?;
    machine.run("getent passwd vipcast")?;
    ensure!(machine.property("ActiveState")? == "inactive" && !machine.has(ENABLED));

    machine.configure(&readme_configuration()?)?;
    machine.type_line("systemctl enable --now vipcast")?;
    machine.wait_routes(5, 1)?;
    let before = machine.property("MainPID")?;
    machine.run(&format!("rpm --upgrade --replacepkgs --nodeps --force-debian {rpm}"))?;
    ensure!(machine.property("MainPID")? != before);
    ensure!(machine.run(&format!("cat {CONFIGURATION}"))? == readme_configuration()?);
    machine.wait_routes(5, 1)?;

    machine.run("rpm --erase --force-debian vipcast")?;
    machine.wait_routes(5, 0)?;
    ensure!(!machine.has(ENABLED) && !machine.has("/usr/sbin/vipcastd"));
    ensure!(machine.property("LoadState")? == "not-found");
    ensure!(machine.has(&format!("{CONFIGURATION}.rpmsave")), "what was changed is kept");
    Ok(())
}
