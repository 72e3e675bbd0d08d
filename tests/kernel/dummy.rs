//! VIPs on a device that is made for them.
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{Fabric, Transport, vip};
use vipcast_lab::wait;

use super::{BOUND, bird, fabric, in_guest, start};

/// The device as `ip` shows it, if it is there.
fn device(fabric: &Fabric, name: &str) -> Result<Option<Value>> {
    let shown = fabric.host(1).namespace.run("ip", ["-details", "-json", "address", "show"])?;
    let shown: Vec<Value> = serde_json::from_str(&shown)?;
    Ok(shown.into_iter().find(|device| device["ifname"] == name))
}

/// How many of the VIPs are on a device; none if it is not there.
fn count(fabric: &Fabric, name: &str) -> Result<usize> {
    let device = device(fabric, name)?.unwrap_or_default();
    let has = |vip: &str| {
        let mut addresses = device["addr_info"].as_array().into_iter().flatten();
        addresses.any(|address| address["local"] == vip)
    };
    Ok(vip(5).iter().filter(|vip| has(&vip.addr().to_string())).count())
}

/// The web service with its VIPs on this device.
fn configuration(fabric: &Fabric, device: &str) -> String {
    let interface = format!("[service.web]\ninterface = \"{device}\"\n");
    peers(fabric, 1) + POOLS + &WEB.replace("[service.web]\n", &interface)
}

/// Both are announced, on this device, and reached.
fn wait_reached(fabric: &Fabric, device: &str) -> Result<()> {
    wait::until_true(&format!("the VIPs are on {device}"), BOUND, || {
        Ok(count(fabric, device)? == 2)
    })?;
    for vip in vip(5) {
        fabric.tor(1).routes.wait_for_count(vip, BOUND, 1)?;
        ensure!(fabric.client.ask(vip.addr())? == "host1");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_dummy_device_is_made_for_vips_and_stays_when_they_leave_it() -> Result<()> {
    in_guest(|| {
        let fabric = fabric(&[bird(Transport::Ipv4, false)])?;
        ensure!(device(&fabric, "vip0")?.is_none());
        let mut daemon = start(&fabric, &configuration(&fabric, "vip0"))?;
        wait_reached(&fabric, "vip0")?;
        let made = device(&fabric, "vip0")?.context("no device")?;
        ensure!(made["linkinfo"]["info_kind"] == "dummy", "{made:#}");

        // Somebody deletes it.
        fabric.host(1).namespace.ip("link delete vip0")?;
        wait_reached(&fabric, "vip0")?;
        // They move to another one, while it runs and when it starts after a crash.
        daemon.write_configuration(&configuration(&fabric, "dummy7"))?;
        daemon.reload()?;
        wait_reached(&fabric, "dummy7")?;
        wait_left(&fabric, "vip0")?;
        daemon.kill()?;
        ensure!(count(&fabric, "dummy7")? == 2, "nobody is there to remove them");
        daemon.write_configuration(&configuration(&fabric, "vip0"))?;
        daemon.run()?;
        wait_reached(&fabric, "vip0")?;
        wait_left(&fabric, "dummy7")?;

        daemon.stop()?;
        ensure!(count(&fabric, "vip0")? == 0, "they are gone when it is");
        wait_left(&fabric, "vip0")?;
        for vip in vip(5) {
            fabric.tor(1).routes.wait_for_count(vip, BOUND, 0)?;
        }
        Ok(())
    })
}

/// The device is there without the VIPs.
fn wait_left(fabric: &Fabric, name: &str) -> Result<()> {
    wait::until_true(&format!("the VIPs have left {name}"), BOUND, || {
        Ok(count(fabric, name)? == 0)
    })?;
    device(fabric, name)?.with_context(|| format!("{name} is gone")).map(drop)
}
