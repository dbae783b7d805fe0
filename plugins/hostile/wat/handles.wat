;; Makes resource handles without end.
(type $r (resource (rep i32)))
(core func $new (canon resource.new $r))
(core module $m
  (import "host" "new" (func $new (param i32) (result i32)))
  (func $start (loop $more (drop (call $new (i32.const 1))) (br $more)))
  (start $start)
  (func (export "f")))
(core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
