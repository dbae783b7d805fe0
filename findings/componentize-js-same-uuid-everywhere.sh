#!/usr/bin/env bash
# componentize-js 0.23.0 with its feature `random` disabled, without Weir: `crypto.randomUUID()` neither fails nor is random. It
# gives the same "random" UUID in every instance, in every process, and in components of different sources.
#
# Behavior: a component without WASI must be built with `random` disabled. The engine's generator then goes on from the state
# that its build left in the snapshot, which is the same for all components. An author who takes a UUID as an idempotency key
# of a message has the platform drop every message but the first, also beside another author's connector.
# Seen with @bytecodealliance/componentize-js 0.23.0, jco 1.35.0 and Node 20: both print
#   7be870cc-e506-4dd6-9658-c0dd11113de4 2ead2b5e-8796-4466-a45b-90087d5b964c
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' >package.json
npm install --silent --no-audit --no-fund @bytecodealliance/componentize-js@0.23.0 @bytecodealliance/jco@1.35.0
mkdir wit
cat >wit/world.wit <<'WIT'
package example:chance;
world connector { export key: func() -> string; }
WIT
echo 'export function key() { return crypto.randomUUID(); }' >one.js
echo 'let asked = 0; export const key = () => { asked += 1; return crypto.randomUUID(); };' >other.js
for name in one other; do
  npx componentize-js "$name.js" --wit wit -n connector -d stdio -d random -d clocks -d http -d fetch-event -o "$name.wasm" >log 2>&1
  npx jco transpile "$name.wasm" --quiet -o "$name"
done
keys() { node --eval "import('./$1/$1.js').then(async it => { await it.\$init; console.log(it.key(), it.key()); })"; }
one=$(keys one) again=$(keys one) other=$(keys other)
echo "one: $one / again: $again / other: $other"
[ "$one" = "7be870cc-e506-4dd6-9658-c0dd11113de4 2ead2b5e-8796-4466-a45b-90087d5b964c" ]
[ "$one" = "$again" ] && [ "$one" = "$other" ]
