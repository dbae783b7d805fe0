;; Never lets an instance begin: its start function does not return.
(core module $m
  (func $start (loop $again (br $again)))
  (start $start)
  (func (export "f")))
(core instance $i (instantiate $m))
