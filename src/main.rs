//! `lazaret`: the binary. Everything is in the library; this file only calls it.

fn main() -> std::process::ExitCode {
    // The same executable is the program of the image `builtin:probe`.
    match lazaret::probe::asked() {
        Some(args) => lazaret::probe::main(&args),
        None => lazaret::cli::main(),
    }
}
