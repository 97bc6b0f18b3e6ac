package faulty_test

import (
	"fmt"
	"io"
	"net/http"

	"yatagarasu/loadtest/faulty"
)

func Example() {
	origin, err := faulty.Start(faulty.Sequence(
		faulty.Status(503, "<Error><Code>SlowDown</Code></Error>"),
		faulty.Truncate(3, 10),
		faulty.OK("whole", `ETag: "e"`),
	))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer origin.Close()
	for range 3 {
		r, err := http.Get(origin.Endpoint() + "/bucket/key")
		if err != nil {
			fmt.Println(err)
			return
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		fmt.Println(r.StatusCode, len(b), err)
	}
	fmt.Println(origin.Requests()[0].Target)
	// Output:
	// 503 36 <nil>
	// 200 3 unexpected EOF
	// 200 5 <nil>
	// /bucket/key
}
