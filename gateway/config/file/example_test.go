package file_test

import (
	"fmt"
	"time"

	"yatagarasu/gateway/config/file"
)

// Door is a block with a default, which checks itself.
type Door struct {
	Color   string `of:"red, green"`
	Closing time.Duration
	Key     file.Secret
}

func (d *Door) Check(dec *file.Decoder, o file.Object) {
	if d.Closing > time.Hour {
		dec.Fail(o.Get("closing"), "is too long", "write at most 1h")
	}
}

var grammar = file.Grammar{Blocks: []file.Block{{Keys: []string{"color", "closing", "key"}}}}

func ExampleDecoder_Fill() {
	env := func(name string) (string, bool) { return "sesame", name == "KEY" }
	for _, text := range []string{"key: \"${KEY}\"\nclosing: 30s\n", "colour: red\nclosing: 2h\nkey: ${KEYS}\n"} {
		d, root, err := file.Open("door.yaml", []byte(text), env, grammar)
		if err != nil {
			fmt.Println(err)
			return
		}
		door := Door{Color: "green"}
		d.Fill(root, "", &door)
		if err := d.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(door.Color, door.Closing, door.Key, door.Key.Reveal())
	}

	// Output:
	// green 30s *** sesame
	// door.yaml:1:1: colour: unknown key; did you mean color?
	// door.yaml:2:10: closing: is too long; write at most 1h
	// door.yaml:3:6: key: the variable KEYS is not set; set it in the environment, or write ${KEYS:-default}
}
