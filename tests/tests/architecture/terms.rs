//! Names and spelling follow the glossary.

use anyhow::ensure;

use super::pages::pages;
use super::{Result, root, sources};

/// Names that the glossary replaced. If one returned, a concept would have two terms.
const REPLACED: [&str; 28] = [
    "Ask",
    "ChannelTold",
    "Crowd",
    "Doubts",
    "GoesBack",
    "HostWitness",
    "InHand",
    "PlatformWords",
    "Player",
    "RuleBook",
    "Tape",
    "Witness",
    "WorkAgain",
    "ask_uncertain",
    "hand_over",
    "hear",
    "heard",
    "in_doubt",
    "is_break",
    "look_again",
    "looked_at",
    "put_ahead",
    "said",
    "takes_its_turn",
    "tell_news",
    "told",
    "transcribe",
    "weir_next",
];

#[test]
fn replaced_names_do_not_come_back() -> Result {
    const KINDS: [&str; 6] = ["fn", "struct", "enum", "trait", "type", "mod"];
    let mut files = Vec::new();
    for folder in ["host", "plugins", "tests", "bench", "xtask"] {
        sources(&root().join(folder), &mut files)?;
    }
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let words: Vec<&str> = text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            ensure!(
                !(KINDS.contains(&pair[0]) && REPLACED.contains(&pair[1])),
                "{} names {}, which docs/glossary.md calls otherwise",
                file.display(),
                pair[1]
            );
        }
    }
    Ok(())
}

/// Prefixes that only words in British spelling have.
const BRITISH: [&str; 11] = [
    "authoris",
    "behaviour",
    "catalogue",
    "colour",
    "dialled",
    "honour",
    "learnt",
    "neighbour",
    "normalis",
    "recognise",
    "serialis",
];

#[test]
fn spelling_is_american() -> Result {
    let mut files = pages()?;
    for folder in ["host", "plugins", "tests", "bench", "xtask"] {
        sources(&root().join(folder), &mut files)?;
    }
    for file in files.into_iter().filter(|file| !file.ends_with(file!())) {
        let text = std::fs::read_to_string(&file)?.to_lowercase();
        for word in BRITISH {
            ensure!(!text.contains(word), "{} spells {word}…", file.display());
        }
    }
    Ok(())
}
