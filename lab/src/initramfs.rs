//! The file system that a kernel starts with: cpio archives, of which the kernel unpacks one after
//! the other.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What guests can do beside what is built into their kernel; loaded when it is needed.
pub(crate) const MODULES: [&str; 5] = ["cmac", "dummy", "sch_netem", "veth", "vrf"];
/// What nothing needs in a guest. These are two thirds of it, and would be copied at every boot.
pub(crate) const LEFT_OUT: [&str; 8] = [
    "boot",
    "usr/lib/apt",
    "usr/lib/udev",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share",
    "var/cache",
    "var/lib",
];
/// Beside a kernel's modules, what modprobe reads.
const MODPROBE: [&str; 5] = [
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep.bin",
    "modules.symbols.bin",
];

/// Archives the root file system in the directory `root`, of its kernel's modules [`MODULES`] and
/// what they depend on.
pub(crate) fn pack_root(root: &Path, archive: &Path) -> Result<()> {
    let kernel = fs::read_dir(root.join("usr/lib/modules"))?.next().context("no modules")??;
    let kernel = kernel.path();
    let dependencies = fs::read_to_string(kernel.join("modules.dep"))?;
    let within = Path::new("usr/lib/modules").join(kernel.file_name().context("no name")?);
    let mut taken: Vec<PathBuf> = MODPROBE.iter().map(|name| within.join(name)).collect();
    for module in MODULES {
        let files = files_of_module(&dependencies, module);
        ensure!(!files.is_empty(), "this kernel has no module {module}");
        taken.extend(files.into_iter().map(|file| within.join(file)));
    }
    pack(root, archive, |path| {
        if path.starts_with("usr/lib/modules") {
            taken.iter().any(|taken| taken.starts_with(path))
        } else {
            !LEFT_OUT.iter().any(|left_out| path.starts_with(left_out))
        }
    })
}

/// A module's file and those of the modules that it depends on, by modules.dep.
fn files_of_module<'a>(dependencies: &'a str, module: &str) -> Vec<&'a str> {
    let end = format!("/{module}.ko");
    let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    let mut own =
        lines.filter(|(file, _)| file.split(".xz").next().unwrap_or(file).ends_with(&end));
    own.next().map_or_else(Vec::new, |(file, others)| {
        std::iter::once(file).chain(others.split_whitespace()).collect()
    })
}

/// Adds an archive to the end of a file: of a directory, what is wanted of it. Paths are told
/// without the directory; where one is not wanted, nothing in it is.
pub(crate) fn pack(
    directory: &Path,
    archive: &Path,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<()> {
    let mut names = Vec::new();
    list(directory, Path::new(""), &is_wanted, &mut names)?;
    let output = OpenOptions::new().create(true).append(true).open(archive)?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--quiet", "--null", "--directory"]).arg(directory);
    cpio.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
    let mut child = cpio.spawn().context("cannot run cpio")?;
    let mut input = child.stdin.take().context("no standard input")?;
    let written = names.iter().try_for_each(|name| {
        input.write_all(name.as_os_str().as_encoded_bytes())?;
        input.write_all(&[0])
    });
    drop(input);
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cpio of {}: {}", directory.display(), complaint.trim());
    written.context("cannot write to cpio")
}

/// All paths, a directory before what is in it.
fn list(
    directory: &Path,
    within: &Path,
    is_wanted: &impl Fn(&Path) -> bool,
    names: &mut Vec<PathBuf>,
) -> Result<()> {
    for entry in fs::read_dir(directory.join(within))? {
        let entry = entry?;
        let path = within.join(entry.file_name());
        if is_wanted(&path) {
            names.push(path.clone());
            if entry.file_type()?.is_dir() {
                list(directory, &path, is_wanted, names)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_brings_along_what_it_depends_on() {
        let dependencies = "kernel/net/xveth.ko.xz:\n\
                            kernel/net/veth.ko.xz: kernel/lib/a.ko.xz kernel/lib/b.ko.xz\n\
                            kernel/net/vrf.ko:\n";
        let veth = ["kernel/net/veth.ko.xz", "kernel/lib/a.ko.xz", "kernel/lib/b.ko.xz"];
        assert_eq!(files_of_module(dependencies, "veth"), veth);
        assert_eq!(files_of_module(dependencies, "vrf"), ["kernel/net/vrf.ko"]);
        assert!(files_of_module(dependencies, "eth").is_empty());
    }
}
