//! Files that are not connectors: each is refused with an error that identifies it, and none crashes the host.

use bytes::Bytes;
use weir_domain::limits;

use crate::support::{INTERFACE, component, runtime};

/// A component around core code.
fn around(core: &str) -> Vec<u8> {
    text(&format!(
        "(component (core module $m {core}) (core instance (instantiate $m)))"
    ))
}

/// Binary WebAssembly, the names of our interfaces being those of the version under test.
fn text(wat: &str) -> Vec<u8> {
    wat::parse_str(wat.replace("@0.1.0", &format!("@{INTERFACE}"))).unwrap()
}

fn precompiled() -> Vec<u8> {
    let engine = wasmtime::Engine::default();
    engine.precompile_component(&text("(component)")).unwrap()
}

/// A function of `count` additions.
fn long_function(count: usize) -> String {
    let turn = "i32.const 1 i32.add ";
    format!("(func (result i32) i32.const 0 {})", turn.repeat(count))
}

#[tokio::test]
async fn what_is_no_connector_is_refused_with_what_it_is() {
    let echo = component("echo");
    let mut trailing = echo.to_vec();
    trailing.extend_from_slice(b"more");
    let mut huge = echo.to_vec();
    huge.resize(limits::COMPONENT_BYTES + 1, 0);
    let eight = "(memory 1) ".to_owned();
    let modules: String = (0..8)
        .map(|i| format!("(core module $m{i} {eight}) (core instance (instantiate $m{i}))"))
        .collect();

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        // Not a component at all.
        ("nothing", vec![], "the file is empty"),
        ("half the magic number", b"\0as".to_vec(), "cut off"),
        ("the magic number alone", b"\0asm".to_vec(), "cut off"),
        ("half a version", b"\0asm\x0d\0\x01".to_vec(), "cut off"),
        (
            "a version of the future",
            b"\0asm\x0e\0\x01\0".to_vec(),
            "not supported",
        ),
        ("a core module", text("(module)"), "core module"),
        ("text", b"(component)".to_vec(), "WebAssembly text"),
        (
            "text after a remark",
            b"\n ;; hi\n(component)".to_vec(),
            "WebAssembly text",
        ),
        ("compiled code", precompiled(), ".cwasm"),
        ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\0".to_vec(), "not WebAssembly"),
        ("a page", b"<!doctype html>".to_vec(), "not WebAssembly"),
        ("zeros", vec![0; 4096], "not WebAssembly"),
        ("too much", huge, "are allowed"),
        // A broken component.
        ("nine bytes", echo[..9].to_vec(), "not valid WebAssembly"),
        ("half of one", echo[..echo.len() / 2].to_vec(), "not valid WebAssembly"),
        (
            "all but the last byte",
            echo[..echo.len() - 1].to_vec(),
            "not valid WebAssembly",
        ),
        ("one and more", trailing, "not valid WebAssembly"),
        ("a body that does not type", around_invalid(), "not valid WebAssembly"),
        // Features that are off.
        ("64-bit memory", around("(memory i64 1)"), "not valid WebAssembly"),
        ("shared memory", around("(memory 1 1 shared)"), "not valid WebAssembly"),
        (
            "two memories in a module",
            around("(memory 1) (memory 1)"),
            "not valid WebAssembly",
        ),
        (
            "garbage collection",
            around("(type (struct (field i32)))"),
            "not valid WebAssembly",
        ),
        (
            "function references",
            around("(type $f (func)) (func (param (ref $f)))"),
            "not valid WebAssembly",
        ),
        ("exceptions", around("(tag)"), "not valid WebAssembly"),
        (
            "tail calls",
            around("(func $f (return_call $f))"),
            "not valid WebAssembly",
        ),
        (
            "custom pages",
            around("(memory 1 (pagesize 1))"),
            "not valid WebAssembly",
        ),
        // More than an instance gets.
        ("eight memories", text(&format!("(component {modules})")), "emories"),
        ("a great memory", around("(memory 2000)"), "emory"),
        ("a great table", around("(table 1000000 funcref)"), "able"),
        (
            "a function without end",
            around(&long_function(200_000)),
            "bytes in one function",
        ),
        // Imports that are not allowed.
        (
            "sockets",
            importing("wasi:sockets/tcp@0.2.0"),
            "imports wasi:sockets/tcp@0.2.0",
        ),
        (
            "files",
            importing("wasi:filesystem/types@0.2.0"),
            "imports wasi:filesystem/types@0.2.0",
        ),
        (
            "a later interface",
            importing("weir:connector/http@0.3.0"),
            "imports weir:connector/http@0.3.0",
        ),
        (
            "secrets",
            importing("weir:connector/secrets@0.1.0"),
            "imports weir:connector/secrets@0.1.0",
        ),
        (
            "a function",
            text(r#"(component (import "backdoor" (func)))"#),
            "imports backdoor",
        ),
        (
            "a module",
            text(r#"(component (import "unlocked" (core module)))"#),
            "imports unlocked",
        ),
        // Other shapes.
        (
            "another fetch",
            text(r#"(component (import "weir:connector/http@0.1.0" (instance (export "fetch" (func)))))"#),
            "does not match weir:connector",
        ),
        (
            "an unknown function of log",
            text(r#"(component (import "weir:connector/log@0.1.0" (instance (export "erase" (func)))))"#),
            "does not match weir:connector",
        ),
        (
            "no exports",
            text("(component)"),
            "does not export weir:connector/descriptor@0.2.0",
        ),
        (
            "a descriptor that describes nothing",
            exporting(&[("descriptor", &["name"])]),
            "descriptor@0.1.0 does not match",
        ),
        (
            "one interface of four",
            exporting(&[("descriptor", &["describe"])]),
            "does not export weir:connector/inbound@0.1.0",
        ),
        (
            "the right names with other types",
            exporting(&[
                ("descriptor", &["describe"]),
                ("inbound", &["receive"]),
                ("outbound", &["prepare", "send"]),
                ("identity", &["who-am-i", "connected", "check"]),
            ]),
            "descriptor@0.1.0 does not match weir:connector",
        ),
    ];
    assert!(cases.len() >= 25);
    let (runtime, notes) = runtime();
    for (what, bytes, why) in cases {
        let why = &why.replace("@0.1.0", &format!("@{INTERFACE}"));
        let error = runtime.load(Bytes::from(bytes)).await.err();
        let error = error.unwrap_or_else(|| panic!("{what} was taken"));
        let words = error.to_string();
        assert!(words.contains(why), "{what}: {words}");
        assert!(words.len() < 4096 && !words.contains('\n'), "{what}: {words}");
    }
    // Only a component with every export is instantiated, and no function of it is called.
    assert_eq!(*notes.ends.lock().unwrap(), [("describe", "ok")]);
}

/// Exports interfaces of ours whose functions take and give nothing.
fn exporting(interfaces: &[(&str, &[&str])]) -> Vec<u8> {
    let interfaces: String = interfaces
        .iter()
        .map(|(interface, functions)| {
            let functions: String = functions
                .iter()
                .map(|function| format!(r#"(export "{function}" (func $f))"#))
                .collect();
            let name = interface.replace('-', "_");
            format!(r#"(instance ${name} {functions}) (export "weir:connector/{interface}@0.1.0" (instance ${name}))"#)
        })
        .collect();
    text(&format!(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            {interfaces})"#
    ))
}

fn importing(interface: &str) -> Vec<u8> {
    text(&format!(r#"(component (import "{interface}" (instance)))"#))
}

/// Valid to the parser, and its body leaves nothing where a number should be.
fn around_invalid() -> Vec<u8> {
    text("(component (core module (func (result i32))))")
}

/// A thousand components, each in the one before: refused or taken for what it is, and no stack is spent on it.
#[tokio::test]
async fn components_within_components_end_somewhere() {
    let nested = (0..1_000).fold(b"\0asm\x0d\0\x01\0".to_vec(), |inner, _| {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut length = inner.len();
        loop {
            let low = u8::try_from(length & 0x7f).unwrap();
            length >>= 7;
            outer.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        outer.extend(inner);
        outer
    });
    let (runtime, _) = runtime();
    assert!(runtime.load(nested.into()).await.is_err());
}
