//! What is in the packages.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{EPOCH, packages, run};

/// What both packages have; each has its own kind of licence and change log, too.
const FILES: [&str; 15] = [
    "/etc/vipcast/vipcast.toml",
    "/usr/bin/vipcast",
    "/usr/lib/systemd/system/vipcast.service",
    "/usr/lib/sysusers.d/vipcast.conf",
    "/usr/sbin/vipcastd",
    "/usr/share/doc/vipcast/CHANGELOG.md",
    "/usr/share/doc/vipcast/README.md",
    "/usr/share/doc/vipcast/SECURITY.md",
    "/usr/share/doc/vipcast/examples/nginx.service.d/vipcast.conf",
    "/usr/share/doc/vipcast/examples/router-bird.conf",
    "/usr/share/doc/vipcast/examples/router-frr.conf",
    "/usr/share/doc/vipcast/examples/web-host.toml",
    "/usr/share/man/man1/vipcast.1.gz",
    "/usr/share/man/man5/vipcast.toml.5.gz",
    "/usr/share/man/man8/vipcastd.8.gz",
];
const OF_DEB: [&str; 2] =
    ["/usr/share/doc/vipcast/changelog.gz", "/usr/share/doc/vipcast/copyright"];
const OF_RPM: [&str; 1] = ["/usr/share/licenses/vipcast/LICENSE"];

/// Mode and contents of every file, by its path on a system where /lib is /usr/lib.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// A directory of this test, empty.
fn directory(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    fs::create_dir_all(&path)?;
    Ok(path)
}

fn files_of(root: &Path) -> Result<Files> {
    let (mut files, mut folders) = (Files::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let name = format!("/{}", path.strip_prefix(root)?.display());
            let name = name.strip_prefix("/lib/").map_or(name.clone(), |n| format!("/usr/lib/{n}"));
            files.insert(name, (fs::metadata(&path)?.permissions().mode(), fs::read(&path)?));
        }
    }
    Ok(files)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn both_packages_have_the_same_files() -> Result<()> {
    let built = packages()?;
    let (deb, rpm) = (directory("deb")?, directory("rpm")?);
    run(Command::new("dpkg-deb").arg("-x").arg(&built.deb).arg(&deb))?;
    let unpack = "rpm2cpio \"$1\" | cpio --extract --make-directories --quiet";
    let mut sh = Command::new("sh");
    run(sh.args(["-c", unpack, "sh"]).arg(&built.rpm).current_dir(&rpm))?;
    let (mut of_deb, mut of_rpm) = (files_of(&deb)?, files_of(&rpm)?);
    for name in OF_DEB {
        of_deb.remove(name).with_context(|| format!("{name} in the deb"))?;
    }
    for name in OF_RPM {
        of_rpm.remove(name).with_context(|| format!("{name} in the rpm"))?;
    }
    let names = |files: &Files| files.keys().cloned().collect::<Vec<String>>();
    assert_eq!(names(&of_deb), FILES);
    assert_eq!(names(&of_rpm), FILES);
    for name in FILES {
        ensure!(of_deb.get(name) == of_rpm.get(name), "{name} differs");
    }
    for directory in [&deb, &rpm] {
        ensure!(directory.join("etc/vipcast/conf.d").is_dir());
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_version_is_that_of_the_manifest_and_the_time_that_of_the_environment() -> Result<()> {
    let built = packages()?;
    let version = env!("CARGO_PKG_VERSION").replacen('-', "~", 1);
    let name = |package: &Path| package.file_name().map(|name| name.to_string_lossy().into_owned());
    let (deb, rpm) = (name(&built.deb).context("deb")?, name(&built.rpm).context("rpm")?);
    ensure!(deb.starts_with(&format!("vipcast_{version}_")), "{deb}");
    ensure!(rpm.starts_with(&format!("vipcast-{version}-1.")), "{rpm}");
    ensure!(query("%{BUILDTIME}")? == EPOCH);
    let listed = run(Command::new("dpkg-deb").arg("-c").arg(&built.deb).env("TZ", "UTC"))?;
    ensure!(listed.lines().all(|line| line.contains(" 2023-11-14 22:13 ")), "{listed}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_configuration_is_the_administrators() -> Result<()> {
    let conffiles = run(Command::new("dpkg-deb").arg("-I").arg(packages()?.deb).arg("conffiles"))?;
    assert_eq!(conffiles, "/etc/vipcast/vipcast.toml\n");
    let flags = query("[%{FILENAMES} %{FILEFLAGS:fflags}\n]")?;
    // c for configuration, n for noreplace.
    ensure!(flags.lines().any(|line| line == "/etc/vipcast/vipcast.toml cn"), "{flags}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_scripts_of_the_rpm_never_start_or_enable_anything() -> Result<()> {
    let scripts = query("%{POSTIN}\n%{PREUN}\n%{POSTUN}")?;
    for wanted in [
        "systemd-sysusers vipcast.conf",
        "systemctl daemon-reload",
        "systemctl --no-reload disable --now vipcast.service",
        "systemctl try-restart vipcast.service",
    ] {
        ensure!(scripts.contains(wanted), "{wanted}:\n{scripts}");
    }
    ensure!(!scripts.contains(" start ") && !scripts.contains(" enable "), "{scripts}");
    // No others, and no shell but the one that is everywhere.
    let listed = run(Command::new("rpm").args(["-qp", "--scripts"]).arg(packages()?.rpm))?;
    let shells = listed.lines().filter(|line| line.contains(" scriptlet (using ")).count();
    ensure!(shells == 3 && listed.matches("(using /bin/sh):").count() == 3, "{listed}");
    run(Command::new("sh").args(["-nc", &scripts])).map(drop)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn lintian_has_nothing_to_say() -> Result<()> {
    let mut lintian = Command::new("lintian");
    let said = run(lintian.args(["--allow-root", "--fail-on=error,warning"]).arg(packages()?.deb))?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn rpmlint_has_nothing_to_say() -> Result<()> {
    let mut rpmlint = Command::new("rpmlint");
    let said = run(rpmlint.args(["--config", "packaging/rpm/rpmlint.toml"]).arg(packages()?.rpm))?;
    ensure!(said.contains(" 0 errors, 0 warnings,"), "{said}");
    Ok(())
}

/// A field of the RPM package, in rpm's query format.
fn query(format: &str) -> Result<String> {
    run(Command::new("rpm").args(["-qp", "--queryformat", format]).arg(packages()?.rpm))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_build_without_its_tools_says_what_to_install() -> Result<()> {
    let few = directory("few-tools")?;
    for tool in ["dirname", "sed"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), few.join(tool))?;
    }
    for (script, advice) in [
        ("packaging/deb/build", "sudo apt install gcc make dpkg-dev debhelper\n"),
        ("packaging/rpm/build", "sudo apt install gcc rpm\n"),
    ] {
        let output = Command::new("/bin/sh").arg(script).env("PATH", &few).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1) && said.contains(advice), "{said}");
        ensure!(said.contains("install Rust 1.95 or newer"), "{said}");
    }
    Ok(())
}
