//! A guest: a Linux of its own for what the kernel of this machine lacks. qemu emulates the
//! processor, so that it works everywhere, and boots in five seconds all the same.
//!
//! It has no disk and no network: all is in its initramfs, which is made of one archive for all
//! guests and a small one for each.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cache::made_once;
use crate::debian::GUEST;
use crate::initramfs::{LEFT_OUT, MODULES, pack, pack_root};
use crate::netns::{Namespace, complete};
use crate::process::Process;
use crate::site::Site;

const INIT: &str = include_str!("guest.sh");
/// On the kernel's command line: who reads it is inside.
const MARK: &str = "vipcast.guest=1";
/// Nothing that a kernel says when all is well; one that panics restarts, which is an end, too.
const KERNEL: &str = "console=ttyS0 loglevel=4 panic=-1 oops=panic";
/// No display, no network and no disk.
const HARDWARE: &str = "-nodefaults -no-user-config -no-reboot -display none -serial stdio \
                        -accel tcg,thread=multi -cpu max -smp 2 -m 1G -device virtio-serial-pci";

/// What a guest is for.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Files of this machine, by their absolute paths, which they have inside as well. Programs
    /// come without what only a debugger needs.
    pub files: &'a [&'a Path],
    /// Beside PATH and HOME.
    pub environment: &'a [(&'a str, &'a str)],
    /// The program and its arguments.
    pub command: &'a [&'a str],
    /// How long all may take, booting and all; then the guest is killed, which is an error.
    pub bound: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// With which the command ended; by a signal as in a shell, with 128 added.
    pub status: i32,
    /// What it wrote, to standard output and standard error.
    pub output: String,
}

/// What guests are booted from.
#[derive(Clone, Debug)]
pub struct Guest {
    kernel: PathBuf,
    root: PathBuf,
}

/// Whether this is a process of a guest.
pub fn is_inside() -> bool {
    let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    words.split_whitespace().any(|word| word == MARK)
}

impl Guest {
    /// Makes the kernel and the root file system in the directory `cache`, unless they are there.
    pub fn prepare(cache: &Path) -> Result<Self> {
        let directory = GUEST.root(cache)?;
        let recipe = format!("{}{MODULES:?}\n{LEFT_OUT:?}\n", GUEST.words()?);
        let pack = |archive: &Path| pack_root(&directory, archive);
        let root = made_once(cache, "root.cpio", &recipe, pack)?;
        Ok(Self { kernel: directory.join("vmlinuz"), root })
    }

    /// Boots, does the job, and switches off. An error if it did not come to its end.
    pub fn run(&self, job: &Job) -> Result<Outcome> {
        let site = Site::temporary()?;
        // Where its qemu is; it has no network, and the guest has none from it.
        let namespace = Namespace::create(&site, "guest")?;
        let directory = namespace.directory();
        let initramfs = self.initramfs(job, &directory)?;
        let ports = ["output", "status"].map(|name| directory.join(name));
        let command = self.command(&namespace, &initramfs, &ports);
        let mut process = Process::start(&namespace, "guest", &command)?;
        let ended = process.wait_for_exit(job.bound);
        let [output, status] = ports.map(|port| fs::read(port).unwrap_or_default());
        let output = String::from_utf8_lossy(&output).into_owned();
        ended.with_context(|| format!("the guest was killed; before that it said:\n{output}"))?;
        let Ok(status) = String::from_utf8_lossy(&status).trim_end().parse() else {
            // All of it: a kernel says first what the matter is.
            let console = fs::read(process.log())?;
            let console = String::from_utf8_lossy(&console);
            bail!(
                "the guest ended before the command did, which said:\n{output}\n\
                 --- the console:\n{console}---"
            );
        };
        Ok(Outcome { status, output })
    }

    /// The emulator, with the console as its standard output and each of these files for what goes
    /// to a port.
    fn command(&self, namespace: &Namespace, initramfs: &Path, ports: &[PathBuf]) -> Command {
        let mut command = namespace.command("qemu-system-x86_64");
        command.args(HARDWARE.split_whitespace());
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(initramfs);
        command.args(["-append", &format!("{KERNEL} {MARK}")]);
        for (number, file) in (1..).zip(ports) {
            let file = file.display();
            command.args(["-chardev", &format!("file,id=port{number},path={file}")]);
            command.args(["-device", &format!("virtserialport,chardev=port{number},nr={number}")]);
        }
        command
    }

    /// The archive of all guests and that of this one, in one file.
    fn initramfs(&self, job: &Job, directory: &Path) -> Result<PathBuf> {
        let (own, archive) = (directory.join("own"), directory.join("initramfs"));
        for file in job.files {
            let within = file.strip_prefix("/").context("a path that is not absolute")?;
            let to = own.join(within);
            fs::create_dir_all(to.parent().context("no directory")?)?;
            copy(file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        fs::write(own.join("init"), INIT)?;
        fs::set_permissions(own.join("init"), fs::Permissions::from_mode(0o755))?;
        fs::write(own.join("job"), job.script())?;
        fs::copy(&self.root, &archive)?;
        pack(&own, &archive, |_| true)?;
        fs::remove_dir_all(own)?;
        Ok(archive)
    }
}

impl Job<'_> {
    /// The command as a script.
    fn script(&self) -> String {
        let mut text = "export HOME=/root PATH=/usr/sbin:/usr/bin\n".to_owned();
        for (name, value) in self.environment {
            let _ = writeln!(text, "export {name}={}", quoted(value));
        }
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        text + "exec " + &words.join(" ") + "\n"
    }
}

/// A word that means itself to a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Copies a file; of a program, which is large, what is needed to run it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut magic = [0; 4];
    let is_program = File::open(from)?.read_exact(&mut magic).is_ok() && &magic == b"\x7fELF";
    if is_program {
        complete(Command::new("strip").args(["--strip-debug", "-o"]).arg(to).arg(from))?;
    } else {
        fs::copy(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_command_reach_it_as_they_are() {
        let job = Job {
            files: &[],
            environment: &[("TEXT", "it's $HOME")],
            command: &["printf", "%s|%s", "a b", "'"],
            bound: Duration::ZERO,
        };
        let script = job.script().replace("exec ", "printf '%s\\n' \"$TEXT\"; exec ");
        let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's $HOME\na b|'");
    }
}
