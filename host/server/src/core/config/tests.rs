use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::settings::variable;
use super::*;

fn config(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Config::of(&Settings::new(File::parse("weir.toml".to_owned(), file)?, &env))
}

fn refused(file: &str, env: &[(&str, &str)]) -> String {
    config(file, env).expect_err("refused").to_string()
}

#[test]
fn nothing_set_listens_on_this_machine_only() {
    let config = config("", &[]).expect("defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public("/hooks/tiktok"), "http://127.0.0.1:8080/hooks/tiktok");
    assert!(!config.delivery.allow_private);
}

#[test]
fn media_are_where_every_host_of_the_database_finds_them() {
    let keep = |file: &str| config(file, &[]).expect("a configuration").media;
    assert_eq!(keep(""), MediaKeep::Folder);
    assert_eq!(keep("store = \"postgres://weir@db/weir\""), MediaKeep::Database);
    assert_eq!(keep("[media]\nkeep = \"database\""), MediaKeep::Database);
    assert!(refused("[media]\nkeep = \"s3\"", &[]).contains("expected folder or database"));
}

/// A row of the tables of `docs/configuration.md`.
struct Row {
    /// `limits.connections`; empty if there is only a variable.
    key: String,
    variable: String,
    default: String,
    bounds: String,
}

fn documented() -> Vec<Row> {
    let text = include_str!("../../../../../docs/configuration.md");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| key"));
    rows.map(|row| {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [_, key, variable, default, bounds, ..] = cells.as_slice() else {
            panic!("a row has too few cells: {row}");
        };
        Row {
            key: key.replace('[', "").replace("] ", "."),
            variable: variable.clone(),
            default: default.clone(),
            bounds: bounds.clone(),
        }
    })
    .collect()
}

#[test]
fn every_key_and_variable_is_documented() {
    let rows = documented();
    let named = |name: fn(&Row) -> &String| -> BTreeSet<String> {
        let names = rows.iter().map(name).filter(|name| !name.is_empty());
        names.cloned().collect()
    };
    let asked = RefCell::new(BTreeSet::from(["WEIR_LOG".to_owned()]));
    let env = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    let settings = Settings::new(File::default(), &env);
    Config::of(&settings).expect("defaults");
    // Of a section whose names are the operator's the page has one row.
    let keys = settings.known().into_iter().map(|key| match key.strip_suffix('.') {
        Some(section) => format!("{section}.NAME"),
        None => key.to_owned(),
    });
    assert_eq!(named(|row| &row.key), keys.collect());
    assert_eq!(named(|row| &row.variable), asked.borrow().clone());
    for row in rows.iter().filter(|row| !row.key.is_empty()) {
        assert_eq!(row.variable, variable(row.key.trim_end_matches(".NAME")));
    }
}

#[test]
fn every_default_is_documented() {
    let Config {
        listen,
        public_url,
        data,
        store,
        node_name: _,
        media,
        limits,
        trusted_keys: _,
        allow_unsigned,
        clock,
        delivery,
        retention,
        metrics_require_key,
        otlp,
        admin_key,
        master_key,
        compiler: _,
    } = config("", &[]).expect("defaults");
    fn shown<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "none".to_owned(), |value| value.to_string())
    }
    let days = [
        retention.messages_days,
        retention.media_days,
        retention.dead_letters_days,
    ]
    .map(shown);
    let [messages_days, media_days, dead_letters_days] = days;
    let defaults = BTreeMap::from([
        ("listen", listen.to_string()),
        ("public_url", public_url.as_str().trim_end_matches('/').to_owned()),
        ("data", data.display().to_string()),
        (
            "store",
            if matches!(store, StoreConfig::Sqlite) {
                "sqlite"
            } else {
                "postgres"
            }
            .to_owned(),
        ),
        ("node.name", "the name of the machine".to_owned()),
        (
            "media.keep",
            match media {
                MediaKeep::Folder => "folder",
                MediaKeep::Database => "database",
            }
            .to_owned(),
        ),
        ("limits.connections", limits.connections.to_string()),
        (
            "limits.connections_per_address",
            limits.connections_per_address.to_string(),
        ),
        ("limits.sends_in_flight", limits.sends_in_flight.to_string()),
        ("limits.deliveries_in_flight", limits.deliveries_in_flight.to_string()),
        ("limits.fetches_in_flight", limits.fetches_in_flight.to_string()),
        ("trusted_keys.NAME", "none".to_owned()),
        ("allow_unsigned", allow_unsigned.to_string()),
        ("clock", shown(clock)),
        ("delivery.allow_private", delivery.allow_private.to_string()),
        ("delivery.resend_if_absent", delivery.resend_if_absent.to_string()),
        ("retention.messages_days", messages_days),
        ("retention.media_days", media_days),
        ("retention.dead_letters_days", dead_letters_days),
        ("retention.refusals_days", retention.refusals_days.to_string()),
        ("retention.audit_days", retention.audit_days.to_string()),
        ("retention.transcripts", retention.transcripts.to_string()),
        ("retention.transcripts_days", retention.transcripts_days.to_string()),
        ("metrics_require_key", metrics_require_key.to_string()),
        ("otlp", shown(otlp)),
        (
            "WEIR_ADMIN_KEY",
            if admin_key.is_none() { "none" } else { "some" }.to_owned(),
        ),
        (
            "WEIR_MASTER_KEY",
            if master_key.is_none() { "none" } else { "some" }.to_owned(),
        ),
        ("WEIR_LOG", "info".to_owned()),
    ]);
    let rows = documented();
    let documented: BTreeMap<&str, String> = rows
        .iter()
        .map(|row| {
            let name = if row.key.is_empty() { &row.variable } else { &row.key };
            (name.as_str(), row.default.clone())
        })
        .collect();
    assert_eq!(documented, defaults);
}

#[test]
fn a_node_has_a_name_that_fits_into_labels() {
    assert!(!config("", &[]).expect("defaults").node_name.is_empty());
    let named = config("[node]\nname = \"weir-1.eu\"", &[]).expect("a name");
    assert_eq!(named.node_name, "weir-1.eu");
    assert!(config("", &[("WEIR_NODE_NAME", "weir 1")]).is_err());
    assert!(config("", &[("WEIR_NODE_NAME", &"a".repeat(64))]).is_err());
}

#[test]
fn bounds_of_numbers_are_documented() {
    for row in documented() {
        let Some((section, name)) = row.key.split_once('.').filter(|(section, _)| *section == "limits") else {
            continue;
        };
        let (first, last) = row.bounds.split_once(" to ").expect("the first and the last number");
        let (first, last): (u64, u64) = (first.parse().expect("a number"), last.parse().expect("a number"));
        let of_file = |number: u64| config(&format!("[{section}]\n{name} = {number}"), &[]);
        let of_variable = |number: u64| config("", &[(&row.variable, &number.to_string())]);
        for allowed in [first, last] {
            assert!(of_file(allowed).is_ok(), "{name} = {allowed}");
            assert!(of_variable(allowed).is_ok(), "{} = {allowed}", row.variable);
        }
        for refused in [first - 1, last + 1] {
            assert!(of_file(refused).is_err(), "{name} = {refused}");
            assert!(of_variable(refused).is_err(), "{} = {refused}", row.variable);
        }
    }
}

#[test]
fn no_page_names_another_variable() {
    /// Of the command line, and of a test that writes a page.
    const OTHERS: [&str; 7] = [
        "WEIR_WRITE_DOCS",
        "WEIR_URL",
        "WEIR_KEY",
        "WEIR_NEW_MASTER_KEY",
        "WEIR_MOVE_TO",
        "WEIR_REGISTRY_USER",
        "WEIR_REGISTRY_PASSWORD",
    ];
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut known: BTreeSet<String> = documented().into_iter().map(|row| row.variable).collect();
    known.extend(OTHERS.map(str::to_owned));
    let pages = std::fs::read_dir(format!("{root}/docs")).expect("docs");
    let mut pages: Vec<_> = pages.map(|page| page.expect("a page").path()).collect();
    pages.push(format!("{root}/README.md").into());
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|kind| kind == "md"))
    {
        let text = std::fs::read_to_string(page).expect("a page");
        let names = text.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
        for name in names.filter(|name| name.starts_with("WEIR_") && *name != "WEIR_") {
            assert!(known.contains(name), "{} names {name}", page.display());
        }
    }
}

#[test]
fn variables_override_the_file() {
    let file = "listen = '127.0.0.1:1'\n[limits]\nconnections = 1\nsends_in_flight = 1_0\n\
                [retention]\ntranscripts = 1\n[delivery]\nresend_if_absent = true";
    let env = [
        ("WEIR_LISTEN", "127.0.0.1:2"),
        ("WEIR_LIMITS_CONNECTIONS", "2"),
        ("WEIR_RETENTION_TRANSCRIPTS", "0"),
        ("WEIR_DELIVERY_RESEND_IF_ABSENT", "false"),
    ];
    let config = config(file, &env).expect("both are right");
    assert_eq!(config.listen.port(), 2);
    assert_eq!((config.limits.connections, config.limits.sends_in_flight), (2, 10));
    assert_eq!(config.retention.transcripts, 0);
    assert!(!config.delivery.resend_if_absent);
}

#[test]
fn bad_variables_are_named_with_what_is_expected() {
    for row in documented() {
        // Any text names a directory.
        if row.key.is_empty() || row.key == "data" {
            continue;
        }
        let words = refused("", &[(&row.variable, "no such value")]);
        assert!(
            words.contains(&row.variable) && words.contains("expected"),
            "{}: {words}",
            row.variable
        );
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let words = refused("listen = '127.0.0.1:1'\nlissten = '127.0.0.1:2'", &[]);
    assert!(
        words.starts_with("weir.toml, line 2:") && words.contains("lissten"),
        "{words}"
    );
    assert!(words.contains("did you mean listen?"), "{words}");
    let words = refused("[delivery]\nallow_privat = true", &[]);
    assert!(words.contains("allow_privat"), "{words}");
    for file in ["[limit]", "[limits.connections]\nof = 1", "limits = 1", "[[retention]]"] {
        assert!(refused(file, &[]).contains("unknown key"), "{file}");
    }
    assert!(config("[limits]\n[trusted_keys]", &[]).is_ok());
}

#[test]
fn metrics_need_a_key_where_it_is_set() {
    let needs = |file, env: &[_]| config(file, env).expect("right").metrics_require_key;
    assert!(!needs("", &[]));
    assert!(needs("metrics_require_key = true", &[]));
    assert!(needs("", &[("WEIR_METRICS_REQUIRE_KEY", "true")]));
    assert!(!needs(
        "metrics_require_key = true",
        &[("WEIR_METRICS_REQUIRE_KEY", "false")]
    ));
    assert!(refused("", &[("WEIR_METRICS_REQUIRE_KEY", "yes")]).contains("true or false"));
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    let words = refused("", &[("WEIR_LISTEN", "8080")]);
    assert!(
        words.contains("WEIR_LISTEN") && words.contains("127.0.0.1:8080"),
        "{words}"
    );
    let words = refused("public_url = 'https://weir.example/api'", &[]);
    assert!(words.contains("public_url"), "{words}");
    let words = refused("[limits]\nsends_in_flight = 0", &[]);
    assert!(words.contains("limits.sends_in_flight"), "{words}");
}

#[test]
fn who_names_trusted_keys_wants_signatures() {
    assert!(config("", &[]).expect("defaults").allow_unsigned);
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let file = format!("[trusted_keys]\nrelease = '{key}'");
    assert!(!config(&file, &[]).expect("a key").allow_unsigned);
    assert!(
        config(&file, &[("WEIR_ALLOW_UNSIGNED", "true")])
            .expect("both")
            .allow_unsigned
    );
    let both = format!("release={key}, old={key}");
    let of_variable = config(&file, &[("WEIR_TRUSTED_KEYS", &both)]).expect("keys");
    assert!(!of_variable.allow_unsigned);
    assert!(refused("", &[("WEIR_TRUSTED_KEYS", "release=x")]).contains("minisign"));
    assert!(refused("", &[("WEIR_TRUSTED_KEYS", key)]).contains("NAME=VALUE"));
    let words = refused("[trusted_keys]\nrelease = 'x'", &[]);
    assert!(
        words.contains("trusted_keys.release") && words.contains("minisign"),
        "{words}"
    );
}

#[test]
fn a_password_is_not_shown() {
    let words = refused("", &[("WEIR_STORE", "mysql://root:hunter2@db")]);
    assert!(!words.contains("hunter2"), "{words}");
    let config = config("", &[("WEIR_ADMIN_KEY", "hunter2")]).expect("a key");
    assert!(!format!("{config:?}").contains("hunter2"));
}
