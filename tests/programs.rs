//! What the two programs say where no daemon runs.
use std::process::Command;

const VIPCASTD: &str = env!("CARGO_BIN_EXE_vipcastd");
const VIPCAST: &str = env!("CARGO_BIN_EXE_vipcast");

#[test]
fn each_program_goes_by_its_own_name() {
    for (program, name) in [(VIPCASTD, "vipcastd"), (VIPCAST, "vipcast")] {
        let output = Command::new(program).arg("--version").output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(text, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}
