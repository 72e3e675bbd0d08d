//! The handle on vipcastd, with shell scripts in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipcast_lab::configuration;
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig};
use vipcast_lab::wait;

const BOUND: Duration = Duration::from_secs(60);

/// Reloads on SIGUSR1: under nohup a shell cannot trap SIGHUP.
const DAEMON: &str = r#"#!/bin/sh
echo "started with $*"
trap 'echo goodbye; exit 0' TERM
trap 'cp "$2" "$STATE_DIRECTORY/loaded"' USR1
echo $$ >"$RUNTIME_DIRECTORY/pid"
while :; do sleep 0.05; done
"#;

const COMMAND: &str = r#"#!/bin/sh
case $1 in
status) [ -f "$RUNTIME_DIRECTORY/pid" ] && echo "{\"pid\": $(cat "$RUNTIME_DIRECTORY/pid"), \"mode\": \"$MODE\"}" ;;
reload) kill -USR1 "$(cat "$RUNTIME_DIRECTORY/pid")" ;;
esac
"#;

fn binaries() -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts");
    fs::create_dir_all(&directory)?;
    for (name, text) in [("vipcastd", DAEMON), ("vipcast", COMMAND)] {
        fs::write(directory.join(name), text)?;
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(directory)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_daemon_is_started_asked_reloaded_frozen_stopped_and_killed() -> Result<()> {
    let fabric = Fabric::start(&FabricConfig { hosts: 1, ..FabricConfig::default() })?;
    let text = configuration::complete(&fabric, 1);
    println!("{text}");
    let mut daemon = Daemon::prepare(fabric.host(1), &binaries()?, &text)?;
    daemon.set_environment("MODE", "test");
    daemon.run()?;
    let status = daemon.wait_ready(BOUND)?;
    assert_eq!(status["pid"], daemon.process()?.pid());
    assert_eq!(status["mode"], "test");

    daemon.write_configuration("# changed\n")?;
    daemon.reload()?;
    let loaded = daemon.configuration_file().with_file_name("state").join("loaded");
    wait::until_true("the new configuration is loaded", BOUND, || {
        Ok(fs::read_to_string(&loaded).is_ok_and(|text| text == "# changed\n"))
    })?;

    daemon.process()?.freeze()?;
    ensure!(daemon.process()?.is_running());
    daemon.process()?.thaw()?;
    let log = daemon.process()?.log().to_owned();
    ensure!(daemon.stop()?.success());
    let log = fs::read_to_string(log)?;
    ensure!(log.contains("started with --config") && log.contains("goodbye"), "{log}");
    ensure!(daemon.process().is_err() && daemon.stop().is_err());

    daemon.run()?;
    daemon.wait_ready(BOUND)?;
    daemon.kill()?;
    Ok(())
}
