//! Start, reload, stop, crash, and hosts that allow less.
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{Fabric, FabricConfig, vip};
use vipcast_lab::router::Kind;
use vipcast_lab::wait;

use super::{BOUND, announce, binaries, pair, start, wait_status};

fn vips_on_lo(fabric: &Fabric) -> Result<Vec<String>> {
    let text = fabric.host(1).namespace.run("ip", ["-j", "address", "show", "dev", "lo"])?;
    let shown: Value = serde_json::from_str(&text)?;
    let addresses = shown[0]["addr_info"].as_array().context("addresses")?;
    let locals = addresses.iter().filter_map(|address| address["local"].as_str());
    Ok(locals
        .filter(|local| !local.starts_with("127.") && *local != "::1")
        .map(str::to_owned)
        .collect())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_stop_withdraws_names_the_host_and_removes_the_vips() -> Result<()> {
    let fabric = Fabric::start(&FabricConfig { hosts: 1, ..FabricConfig::default() })?;
    let mut daemon = announce(&fabric, 1)?;
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    }
    ensure!(vips_on_lo(&fabric)?.len() == 2);
    let log = daemon.process()?.log().to_owned();
    let status = daemon.stop()?;
    ensure!(status.success(), "{status}");
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(5)[0], BOUND, 0)?;
        let session = tor.router.session("host1")?;
        let error = session.last_error.unwrap_or_default().to_lowercase();
        ensure!(error.contains("shutdown"), "{error}");
    }
    ensure!(vips_on_lo(&fabric)?.is_empty(), "{:?}", vips_on_lo(&fabric)?);
    ensure!(std::fs::read_to_string(log)?.contains("stopping"));
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn after_a_crash_leftovers_are_adopted_and_routes_are_back() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let mut daemon = announce(&fabric, 1)?;
    fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    daemon.kill()?;
    fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 0)?;
    ensure!(vips_on_lo(&fabric)?.len() == 2, "a crash leaves them");
    // One of them is no longer wanted when it starts again.
    let one = (peers(&fabric, 1) + POOLS + WEB).replace(", \"2001:db8:5::5\"", "");
    daemon.write_configuration(&one)?;
    daemon.run()?;
    fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    wait::until_true("the other one is removed", BOUND, || {
        Ok(vips_on_lo(&fabric)? == ["203.0.113.5"])
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_reload_touches_nothing_that_did_not_change() -> Result<()> {
    let fabric = Fabric::start(&FabricConfig { hosts: 1, ..FabricConfig::default() })?;
    let daemon = announce(&fabric, 1)?;
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    }
    let before = Instant::now();
    let more = "\n[service.other]\nvips = [\"203.0.113.6\"]\ncheck.c.tcp = \"127.0.0.1:80\"\n";
    let text = peers(&fabric, 1) + POOLS + WEB + more;
    daemon.write_configuration(&text)?;
    daemon.reload()?;
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(6)[0], BOUND, 1)?;
    }
    daemon.write_configuration(&text.replace(more, ""))?;
    daemon.reload()?;
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(6)[0], BOUND, 0)?;
        let changes = tor.routes.changes(vip(5)[0], before);
        ensure!(changes.is_empty(), "{changes:?}");
    }
    let status = daemon.status()?;
    ensure!(status["peers"][0]["sessions"] == 1 && status["peers"][1]["sessions"] == 1);
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_reload_with_a_mistake_fails_with_its_place_and_changes_nothing() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let daemon = announce(&fabric, 1)?;
    fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    let text = peers(&fabric, 1) + POOLS + &WEB.replace("203.0.113.5\", ", "192.0.2.1\", ");
    daemon.write_configuration(&text)?;
    let error = format!("{:#}", daemon.reload().err().context("the reload must fail")?);
    ensure!(!error.contains("does not answer") && !error.contains("DBus"), "{error}");
    ensure!(error.contains("VIP 192.0.2.1 is outside every pool"), "{error}");
    ensure!(error.contains("vipcast.toml:"), "{error}");
    ensure!(fabric.tor(1).routes.next_hops(vip(5)[0]).len() == 1);
    let status = daemon.vipcast(["status"])?;
    ensure!(status.contains("the last reload failed"), "{status}");
    // SIGHUP does the same, and says so in the status too.
    daemon.write_configuration(&(peers(&fabric, 1) + POOLS + WEB))?;
    daemon.process()?.signal(nix::sys::signal::Signal::SIGHUP)?;
    let is_good = |status: &Value| status["reload-error"].is_null();
    wait_status(&daemon, "the reload by signal succeeded", is_good).map(drop)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_second_daemon_in_the_same_place_is_refused() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let daemon = announce(&fabric, 1)?;
    daemon.wait_ready(BOUND)?;
    let directory = daemon.configuration_file().with_file_name("run");
    let second = fabric
        .host(1)
        .namespace
        .command(binaries().join("vipcastd"))
        .arg("--config")
        .arg(daemon.configuration_file())
        .env("RUNTIME_DIRECTORY", directory)
        .output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(second.status.code() == Some(1), "{said}");
    ensure!(said.contains("another vipcastd is running"), "{said}");
    daemon.status().map(drop)
}

/// A daemon that may not change addresses says so, and serves what needs no permission.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn without_permission_for_addresses_the_reason_is_given_and_the_rest_works() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let more = "\n[service.other]\nvips = [\"203.0.113.6\"]\ninterface = \"none\"\ncheck.c.tcp = \"127.0.0.1:80\"\n";
    let directory = fabric.host(1).namespace.directory().join("unprivileged");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("vipcast.toml");
    std::fs::write(&file, peers(&fabric, 1) + POOLS + WEB + more)?;
    let mut child = fabric
        .host(1)
        .namespace
        .command("setpriv")
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        .arg(binaries().join("vipcastd"))
        .arg("--config")
        .arg(&file)
        .env("RUNTIME_DIRECTORY", &directory)
        .stderr(Stdio::null())
        .spawn()?;
    let check = || -> Result<()> {
        fabric.tor(1).routes.wait_for_count(vip(6)[0], BOUND, 1)?;
        let status = Command::new(binaries().join("vipcast"))
            .args(["status", "web"])
            .env("RUNTIME_DIRECTORY", &directory)
            .output()?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let why = "cannot add it to lo: not permitted (CAP_NET_ADMIN is needed)";
        ensure!(text.contains(why), "{text}");
        ensure!(fabric.tor(1).routes.next_hops(vip(5)[0]).is_empty());
        Ok(())
    };
    let result = check();
    child.kill()?;
    child.wait()?;
    result
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn metrics_say_what_was_really_sent() -> Result<()> {
    let mut fabric = Fabric::start(&FabricConfig { hosts: 1, ..FabricConfig::default() })?;
    let text = peers(&fabric, 1) + POOLS + WEB + "\n[metrics]\nlisten = \"127.0.0.1:9179\"\n";
    let _daemon = start(&fabric, 1, &text)?;
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    }
    let host = fabric.host(1).namespace.clone();
    let metric = |name: &str| -> Result<String> {
        let text = host.run("curl", ["-s", "127.0.0.1:9179/metrics"])?;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.with_context(|| format!("{name}:\n{text}"))?.trim().to_owned())
    };
    let announced = |peer: &str| {
        metric(&format!(
            "vipcast_vip_announced{{service=\"web\",vip=\"203.0.113.5\",peer=\"{peer}\"}}"
        ))
    };
    ensure!((announced("tor1")?, announced("tor2")?) == ("1".into(), "1".into()));
    ensure!(metric("vipcast_bgp_session_up{peer=\"tor1\"}")? == "1");
    ensure!(metric("vipcast_bgp_prefixes_sent{peer=\"tor1\"}")? == "2");
    ensure!(metric("vipcast_service_up{service=\"web\"}")? == "1");
    ensure!(metric("vipcast_decision_to_wire_seconds_count{peer=\"tor1\"}")? == "2");
    wait::until_true("BFD is up", BOUND, || {
        Ok(metric("vipcast_bfd_session_up{peer=\"tor1\"}")? == "1")
    })?;
    // One router goes: what it had is no longer counted, what the other has is.
    fabric.tor_mut(1).router.stop()?;
    wait::until_true("the router's part is gone", BOUND, || {
        Ok((announced("tor1")?, announced("tor2")?) == ("0".into(), "1".into()))
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn metrics_that_cannot_be_served_are_in_the_status_until_they_can() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let text = peers(&fabric, 1) + POOLS + WEB + "\n[metrics]\nlisten = \"192.0.2.99:9179\"\n";
    let daemon = start(&fabric, 1, &text)?;
    let host = fabric.host(1).namespace.clone();
    let trouble = "cannot serve metrics on 192.0.2.99:9179: cannot assign requested address";
    wait_status(&daemon, "metrics are missing", |status| status["metrics-error"] == trouble)?;
    ensure!(daemon.vipcast(["status"])?.contains(&format!("× {trouble}")));
    host.run("ip", ["address", "add", "192.0.2.99/32", "dev", "lo"])?;
    wait_status(&daemon, "metrics are there", |status| status["metrics-error"].is_null())?;
    ensure!(host.run("curl", ["-s", "192.0.2.99:9179/metrics"])?.contains("vipcast_build_info"));
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_status_that_cannot_be_had_or_written_is_a_failure() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let daemon = announce(&fabric, 1)?;
    daemon.wait_ready(BOUND)?;
    for form in [&["status", "nope"][..], &["status", "--json", "nope"], &["status", "web", "nope"]]
    {
        let error =
            format!("{:#}", daemon.vipcast(form.iter().copied()).err().context("it must fail")?);
        ensure!(error.contains("no service nope; there are: web"), "{error}");
    }
    let directory = daemon.configuration_file().with_file_name("run");
    let status = |to: Stdio| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(binaries().join("vipcast"));
        command.arg("status").env("RUNTIME_DIRECTORY", &directory);
        let output = command.stdout(to).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let (code, said) = status(full.into())?;
    ensure!(code == Some(1) && said.starts_with("cannot write: "), "{code:?} {said}");
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let (code, said) = status(writer.into())?;
    ensure!(code == Some(0) && said.is_empty(), "nobody reads: {code:?} {said}");
    Ok(())
}
