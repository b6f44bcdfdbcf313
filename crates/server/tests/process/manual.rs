//! Completions and man pages, by the shells and by the program that read them.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use crate::support::Place;

/// Runs a program of the system; what it printed, or `None` where it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            testing::skip(program);
            None
        }
        ran => {
            let ran = ran.expect("it can be run");
            let (out, err) = (String::from_utf8(ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(ran.status.success() && err.is_empty(), "{program}: {err}");
            Some(out.expect("it prints text"))
        }
    }
}

/// What bash and zsh offer after these words, of which the last is begun.
fn offered(place: &Place, line: &str) -> Vec<Vec<String>> {
    // Sources the script and asks the function that it registers, as bash does at the Tab key.
    const BASH: &str = r#"
        source "$1"
        read -ra COMP_WORDS <<<"$2"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        function=$(complete -p postroom | sed -E 's/.* -F ([^ ]+).*/\1/')
        "$function" postroom "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    // Types the line and the Tab key at a zsh in a terminal of its own, and prints what it lists.
    const ZSH: &str = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "PS1=; LISTMAX=10000; TERM=dumb; fpath=(${1:h} \$fpath)"
        zpty -w shell 'autoload -U compinit; compinit -u -D; unsetopt zle_bracketed_paste'
        zpty -w shell "bindkey '^I' list-choices; zstyle ':completion:*' list-separator '--'"
        zpty -w shell 'print -r rea''dy'
        zpty -r shell text '*ready*'
        zpty -n -w shell "$2"$'\t\C-u'
        zpty -w shell 'print -r do''ne'
        zpty -r shell text '*done*'
        print -r -- "$text""#;
    let begun = line.rsplit(' ').next().expect("a line has a word");
    let mut all = Vec::new();
    'shells: for (shell, file, program) in [("bash", "postroom", BASH), ("zsh", "_postroom", ZSH)] {
        let script = place.path(file);
        fs::write(&script, place.run(&["completions", shell]).ok()).expect("it can be written");
        let script = script.to_str().expect("the path is text");
        // On a busy machine zsh may get the Tab before it reads keys.
        let mut words = Vec::new();
        for _ in 0..10 {
            let Some(printed) = run(shell, &["-c", program, shell, script, line]) else {
                continue 'shells;
            };
            // A description follows the word.
            let firsts = printed.lines().filter_map(|line| line.split_whitespace().next());
            words.extend(firsts.filter(|word| word.starts_with(begun)).map(str::to_owned));
            if !words.is_empty() {
                break;
            }
        }
        words.sort();
        words.dedup();
        all.push(words);
    }
    all
}

#[test]
fn bash_and_zsh_complete_commands_and_flags() {
    let place = Place::bare();
    for (line, words) in [
        ("postroom co", &["completions", "config", "copy"][..]),
        ("postroom user en", &["enable"]),
        ("postroom webhook di", &["disable"]),
        ("postroom backup --da", &["--data-dir"]),
        ("postroom completions f", &["fish"]),
    ] {
        for offered in offered(&place, line) {
            assert_eq!(offered, words, "{line}");
        }
    }
}

#[test]
fn every_shell_has_its_script() {
    let place = Place::bare();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.run(&["completions", shell]).ok();
        assert!(script.contains("postroom") && script.contains("rotate"), "{shell}: {script}");
    }
    let error = place.run(&["completions", "cmd"]).failed(2);
    assert!(error.contains("bash, elvish, fish, powershell, zsh"), "{error}");
}

#[test]
fn man_shows_a_page_for_each_command() {
    let place = Place::bare();
    let folder = place.path("man/man1");
    let folder = folder.to_str().expect("the path is text");
    place.run(&["man", folder]).ok();
    for (page, said) in [
        ("postroom.1", "postroom-backup(1)"),
        ("postroom-backup.1", "while the server runs"),
        ("postroom-webhook-rotate.1", "postroom webhook rotate"),
    ] {
        let file = format!("{folder}/{page}");
        assert!(fs::exists(&file).expect("the folder can be read"), "{page}");
        let arguments = ["-man", "-Tutf8", "-ww", "-P-cbou", &file];
        let Some(shown) = run("groff", &arguments) else { return };
        assert!(shown.contains(said), "{page}: {shown}");
    }
    let error = place.run(&["man", "/dev/null/pages"]).failed(1);
    assert!(error.contains("cannot write to /dev/null/pages"), "{error}");
}
