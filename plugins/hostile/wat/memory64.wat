;; Asks for a memory of four terabytes, which only 64 bits can count.
(core module $m
  (memory i64 0x4000000)
  (func (export "f")))
(core instance $i (instantiate $m))
