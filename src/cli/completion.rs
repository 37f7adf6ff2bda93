//! `completion`: clap knows every flag, so clap writes the script; names of images and containers
//! are asked for at each press of a key (`complete`).

use super::args::{Cli, ShellArg};
use crate::error::Result;
use crate::report;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Prints the script for `shell` on standard output.
///
/// # Errors
/// Standard output cannot be written.
pub fn completion(shell: ShellArg) -> Result<u8> {
    report::stdout(&script(shell))?;
    Ok(0)
}

fn script(shell: ShellArg) -> String {
    let clap_shell = match shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut flags = Vec::new();
    generate(clap_shell, &mut Cli::command(), "lazaret", &mut flags);
    let flags = String::from_utf8_lossy(&flags);
    match shell {
        ShellArg::Bash => format!("{flags}\n{BASH}"),
        ShellArg::Zsh => zsh(&flags),
        ShellArg::Fish => format!("{flags}\n{FISH}"),
    }
}

/// bash splits words at colons (COMP_WORDBREAKS), which names of images have: the line is cut anew,
/// and what stands before the last colon is left out of the answers, as bash puts only the rest in.
const BASH: &str = r#"_lazaret_names() {
    local line=${COMP_LINE:0:COMP_POINT} words cur name
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[${#words[@]}-1]}
    COMPREPLY=()
    _lazaret "$@"
    # What clap says of arguments is a word for people.
    local kept=()
    for name in "${COMPREPLY[@]}"; do
        [[ $name == [\<\[]* ]] || kept+=("$name")
    done
    COMPREPLY=("${kept[@]}")
    local before=""
    [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && before=${cur%"${cur##*:}"}
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$before"}")
    done < <("${COMP_WORDS[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _lazaret_names -o bashdefault -o default lazaret
"#;

/// fish asks for more wherever no rule of clap's says otherwise; a flag's value is such a place.
const FISH: &str = r#"function __fish_lazaret_names
    set -l words (commandline -opc)
    command $words[1] __complete $words[2..] (commandline -ct) 2>/dev/null
end
complete -c lazaret -a '(__fish_lazaret_names)'
complete -c lazaret -n "__fish_lazaret_using_subcommand why" -l in -x -a '(__fish_lazaret_names)'
"#;

/// clap's function is called by one of ours, which has the name that zsh looks for.
fn zsh(flags: &str) -> String {
    let end = flags.find("if [ \"$funcstack[1]\" = \"_lazaret\" ]");
    let flags = flags.get(..end.unwrap_or(flags.len())).unwrap_or_default();
    let flags = flags.replacen("\n_lazaret() {", "\n_lazaret_flags() {", 1);
    format!("{flags}{ZSH}")
}

const ZSH: &str = r#"_lazaret() {
    local -a names
    names=("${(@f)$(${(Q)words[1]} __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    names=(${names:#})
    if (( $#names )); then
        compadd -a names
    else
        _lazaret_flags "$@"
    fi
}

if [ "$funcstack[1]" = "_lazaret" ]; then
    _lazaret "$@"
else
    compdef _lazaret lazaret
fi
"#;

#[cfg(test)]
mod tests {
    use super::*;

    /// The scripts are patched where clap's own have their seams.
    #[test]
    fn the_seams_are_there() {
        let zsh = script(ShellArg::Zsh);
        assert!(zsh.starts_with("#compdef lazaret\n"));
        for once in [
            "\n_lazaret_flags() {",
            "\n_lazaret() {",
            "compdef _lazaret lazaret",
        ] {
            assert_eq!(zsh.matches(once).count(), 1, "{once}");
        }
        assert!(script(ShellArg::Bash).starts_with("_lazaret() {"));
        assert!(script(ShellArg::Fish).contains("__fish_lazaret_needs_command"));
    }
}
