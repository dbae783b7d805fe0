;; Grows its table until the limit, then traps.
(core module $m
  (table $t 0 funcref)
  (func $start
    (loop $more
      (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    unreachable)
  (start $start)
  (func (export "f")))
(core instance $i (instantiate $m))
