;; Declares a memory of four terabytes, which needs 64-bit addresses.
(core module $m
  (memory i64 0x4000000)
  (func (export "f")))
(core instance $i (instantiate $m))
