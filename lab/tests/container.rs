//! Containers with systemd on machines of the lab.

use std::env;
use std::io::{BufRead, BufReader};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipcast_lab::container::Container;
use vipcast_lab::debian::CONTAINER;
use vipcast_lab::netns::Namespace;
use vipcast_lab::site::{Site, directory_of};
use vipcast_lab::wait;

const BOUND: Duration = Duration::from_secs(60);
/// Set for the process that [`a_process_with_a_container`] is to be run in.
const VICTIM: &str = "VIPCAST_LAB_VICTIM";
const BOOTED: &str = "booted ";

fn boot() -> Result<(String, Container)> {
    let root = CONTAINER.root(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian"))?;
    let site = Site::temporary()?;
    let container = Container::boot(&Namespace::create(&site, "host1")?, &root, &[])?;
    Ok((site.name().to_owned(), container))
}

/// What a lab with a container has on this machine; there is no control group with a process in it
/// if there is none at all.
fn traces(lab: &str) -> Result<Vec<PathBuf>> {
    let machine = format!("{lab}-host1");
    let directory = directory_of(lab)?;
    let mut places = vec![directory.clone(), directory.with_extension("gone")];
    for parent in
        ["/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"]
    {
        places.push(Path::new(parent).join(&machine));
    }
    places.push(Path::new("/run/systemd/nspawn/propagate").join(&machine));
    Ok(places.into_iter().filter(|place| place.exists()).collect())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn two_containers_have_the_same_root_and_do_not_see_each_other() -> Result<()> {
    let ((_, one), (_, other)) = (boot()?, boot()?);
    one.run("echo one >/etc/mark && systemctl stop nginx")?;
    ensure!(!other.path("/etc/mark").exists());
    ensure!(other.run("systemctl is-active nginx")?.trim() == "active");
    ensure!(other.run("ip -brief link")?.lines().count() == 1, "lo is all there is");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn nothing_is_left_of_a_container_after_a_panic() -> Result<()> {
    let (lab, container) = boot()?;
    ensure!(traces(&lab)?.len() > 2, "{:?}", traces(&lab)?);
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let _container = container;
        panic::resume_unwind(Box::new("a test fails"));
    }));
    assert!(outcome.is_err());
    assert_eq!(traces(&lab)?, Vec::<PathBuf>::new());
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn nothing_is_left_of_a_container_whose_process_is_killed() -> Result<()> {
    let mut victim = Command::new(env::current_exe()?)
        .args(["--exact", "a_process_with_a_container", "--ignored", "--nocapture"])
        .env(VICTIM, "yes")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(victim.stdout.take().context("no output")?);
    let booted = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once(BOOTED).map(|(_, lab)| lab.to_owned()));
    victim.kill()?;
    victim.wait()?;
    let lab = booted.context("it ended before it had booted")?;
    wait::until_true("nothing is left", BOUND, || Ok(traces(&lab)?.is_empty()))
        .with_context(|| format!("{:?}", traces(&lab)))
}

#[test]
#[ignore = "is run by the test above"]
fn a_process_with_a_container() -> Result<()> {
    if env::var_os(VICTIM).is_none() {
        return Ok(());
    }
    let (lab, _container) = boot()?;
    println!("{BOOTED}{lab}");
    loop {
        thread::park();
    }
}
