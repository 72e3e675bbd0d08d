//! What a process uses, and what machine this is.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

use crate::netns::Namespace;

/// What a process used until now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Its memory, shared pages by its share, in MiB.
    pub pss: f64,
    /// Of that, what it wrote to: its heap and stacks.
    pub private_dirty: f64,
    /// The most memory it had at a time, shared pages in full, in MiB.
    pub peak: f64,
    /// Its time on CPUs, in user mode.
    pub user: Duration,
    /// Its time on CPUs, in the kernel.
    pub system: Duration,
}

/// The machine the lab runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Of the kernel.
    pub release: String,
    /// The CPU, as it calls itself.
    pub cpu: String,
    /// How many there are.
    pub cores: usize,
}

impl Usage {
    /// Asks the kernel.
    pub fn of(pid: u32) -> Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("unreadable /proc/PID/stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
        let per_second = u32::try_from(per_second)?;
        let time = |field: usize| -> Result<Duration> {
            let ticks: u32 = fields.get(field).context("short /proc/PID/stat")?.parse()?;
            Ok(Duration::from_secs(1) * ticks / per_second)
        };
        Ok(Self {
            pss: mebibytes(&rollup, "Pss:")?,
            private_dirty: mebibytes(&rollup, "Private_Dirty:")?,
            peak: mebibytes(&status, "VmHWM:")?,
            user: time(11)?,
            system: time(12)?,
        })
    }

    /// Its time on CPUs.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

impl Machine {
    /// This one.
    pub fn this() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu = model.map_or("unknown CPU", |(_, name)| name).to_owned();
        Ok(Self { release, cpu, cores: std::thread::available_parallelism()?.get() })
    }
}

/// How many octets the other ends of a machine's BGP connections have acknowledged.
pub fn acknowledged(namespace: &Namespace) -> Result<u64> {
    let text = namespace.run("ss", ["-Htni", "( sport = :179 or dport = :179 )"])?;
    let counts = text.split_whitespace().filter_map(|word| word.strip_prefix("bytes_acked:"));
    counts.map(|count| count.parse::<u64>().context("odd bytes_acked of ss")).sum()
}

/// How many processes ran or wanted to, on average over the last minute.
pub fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split(' ').next().context("empty /proc/loadavg")?.parse().context("odd /proc/loadavg")
}

fn mebibytes(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let line = line.with_context(|| format!("no {key} in what /proc says"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_time() -> Result<()> {
        let usage = Usage::of(std::process::id())?;
        assert!(usage.pss > 0.1 && usage.pss < 1e4, "{usage:?}");
        assert!(usage.private_dirty > 0.0 && usage.private_dirty <= usage.pss, "{usage:?}");
        assert!(usage.peak >= usage.private_dirty, "{usage:?}");
        assert!(usage.cpu() < Duration::from_secs(3600), "{usage:?}");
        Ok(())
    }

    #[test]
    fn the_machine_is_known() -> Result<()> {
        let machine = Machine::this()?;
        assert!(machine.cores > 0 && machine.release.contains('.'), "{machine:?}");
        assert!(load()? >= 0.0);
        Ok(())
    }
}
