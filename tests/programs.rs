//! What the two programs say where no daemon runs.
#![expect(clippy::disallowed_methods, reason = "these tests write files")]
use std::path::{Path, PathBuf};
use std::process::Command;

const VIPCASTD: &str = env!("CARGO_BIN_EXE_vipcastd");
const VIPCAST: &str = env!("CARGO_BIN_EXE_vipcast");

/// Runs a program with a runtime directory; its exit status and what it says on standard error.
fn run(program: &str, arguments: &[&str], runtime: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    let output = command.args(arguments).env("RUNTIME_DIRECTORY", runtime).output();
    let output = output.expect("the program runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn each_program_goes_by_its_own_name() {
    for (program, name) in [(VIPCASTD, "vipcastd"), (VIPCAST, "vipcast")] {
        let output = Command::new(program).arg("--version").output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(text, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_runtime_directory_that_is_a_file_is_called_so() {
    let file = folder("runtime-file").join("file");
    std::fs::File::create(&file).expect("a file");
    let shown = file.display();
    let (code, said) = run(VIPCASTD, &["--config", "examples/web-host.toml"], &file);
    let text = format!(
        "error: cannot make {shown}: it is there and not a directory; remove it, or set \
         RUNTIME_DIRECTORY to another place\n"
    );
    assert_eq!((code, said), (Some(1), text));
    let (code, said) = run(VIPCAST, &["status"], &file);
    let text = format!(
        "vipcastd is not running: nothing answers on {shown}/control (not a directory)\n\
         start it with: systemctl start vipcast\n"
    );
    assert_eq!((code, said), (Some(1), text));
}

#[test]
fn a_runtime_directory_that_is_too_long_for_a_socket_is_called_so() {
    let long = folder("runtime-long").join("x".repeat(120));
    let length = long.join("control").as_os_str().len();
    let socket = long.join("control");
    let why = format!(
        "its path is too long for a socket ({length} octets, at most 107); choose a shorter \
         runtime directory\n"
    );
    let (code, said) = run(VIPCASTD, &["--config", "examples/web-host.toml"], &long);
    let text = format!("error: cannot listen on {}: {why}", socket.display());
    assert_eq!((code, said), (Some(1), text));
    let (code, said) = run(VIPCAST, &["status"], &long);
    assert_eq!((code, said), (Some(1), format!("{}: {why}", socket.display())));
}

#[test]
fn a_check_of_a_file_reads_the_folder_beside_it_too() {
    let folder = folder("check-folder");
    let conf = folder.join("conf.d");
    std::fs::create_dir_all(&conf).expect("a folder");
    let file = folder.join("vipcast.toml");
    std::fs::copy("examples/web-host.toml", &file).expect("a file");
    std::fs::File::create(conf.join("10-empty.toml")).expect("a file");
    let arguments = ["--check", file.to_str().expect("UTF-8")];
    assert_eq!(run(VIPCASTD, &arguments, &folder), (Some(0), String::new()));
    std::fs::copy("examples/web-host.toml", conf.join("20-again.toml")).expect("a file");
    let (code, said) = run(VIPCASTD, &arguments, &folder);
    std::fs::remove_dir_all(&conf).expect("ours");
    assert!(code == Some(78) && said.contains("20-again.toml"), "{said}");
}

#[test]
fn a_check_without_a_daemon_probes_by_itself_and_says_how_it_went() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let good = listener.local_addr().expect("its address");
    let configuration = format!(
        "[bgp]\nlocal-asn = 65100\n[peer.tor1]\naddress = \"10.0.0.1\"\nremote-asn = 65000\n\
         [pool.vips]\naddresses = [\"203.0.113.0/24\"]\n\
         [service.web]\nvips = [\"203.0.113.5\"]\ncheck.alive.tcp = \"{good}\"\n\
         [service.dns]\nvips = [\"203.0.113.6\"]\ncheck.zone.tcp = \"127.0.0.1:1\"\n"
    );
    let file = folder("check").join("vipcast.toml");
    std::fs::write(&file, configuration).expect("written");
    let check = |services: &[&str]| {
        let mut command = Command::new(VIPCAST);
        command.args(["check", "--config"]).arg(&file).args(services);
        let output = command.output().expect("the program runs");
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("UTF-8"));
        (output.status.code(), said)
    };
    let (code, [said, errors]) = check(&["web"]);
    assert!(
        said.starts_with(&format!("web\n    ● check alive  tcp {good}\n      ok in ")),
        "{said}"
    );
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, [said, errors]) = check(&[]);
    assert!(
        said.starts_with("dns\n    × check zone  tcp 127.0.0.1:1\n      failed after "),
        "{said}"
    );
    assert!(said.contains(": connection refused\nweb\n    ● check alive"), "{said}");
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    let (code, [said, errors]) = check(&["wbe"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert_eq!(errors, "no service wbe; there are: dns, web\n");
}
