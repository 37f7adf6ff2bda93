//! README's "Signed images", pasted into a shell.

use super::real::stock;
use super::scene::Scene;
use super::support::{Home, Image, Real, need};
use std::process::{Command, Output};

/// The commands of a section of README.
fn commands(section: &str) -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once(section).unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Pastes lines into a shell that has nothing but a home.
fn paste(home: &Home, lines: &str) -> Output {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_lazaret"));
    let folder = program.parent().unwrap().display();
    std::fs::create_dir_all(home.path("own")).unwrap();
    Command::new("bash")
        .args(["-e", "-c", lines])
        .current_dir(home.path("own"))
        .env_clear()
        .env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"))
        .env("HOME", home.path("own"))
        .env("LAZARET_STORE", home.root().join("data/lazaret"))
        .output()
        .unwrap()
}

#[test]
fn five_commands_sign_an_image_and_run_it() {
    need!(
        "userns",
        "overlay",
        "landlock",
        "docker-registry",
        "skopeo",
        "bash"
    );
    let keep = Home::new();
    let real = Real::start(&keep, "", "");
    let address = format!("localhost:{}", real.port);
    let said = Image::toolbox().set("Cmd", serde_json::json!(["echo", "it runs"]));
    let scene = Scene::of(said.build()).at(&address);
    stock(&scene, &real);
    let all = commands("## Signed images");
    let all = all.replace(
        "localhost:5000/lab/tool TAG=1",
        &format!("{address}/lab/img TAG=test"),
    );
    assert!(all.contains(&address), "{all}");
    assert_eq!(all.matches("\n# ").count(), 5, "{all}");
    let (before, last) = all.rsplit_once("\n# 5.").unwrap();
    let (unsigned, signing) = before.split_once("\n# 3.").unwrap();
    let run = last.split_once('\n').unwrap().1;
    // The rule holds before anything is signed.
    let out = paste(&scene.home, &format!("{unsigned}\n{run}"));
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(125), "{err}");
    assert!(err.contains("is not signed by the"), "{err}");
    let name = unsigned
        .lines()
        .find(|line| line.starts_with("IMAGE="))
        .unwrap();
    let out = paste(&scene.home, &format!("{name}\n# 3.{signing}\n{run}"));
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{err}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "it runs\n", "{err}");
}
