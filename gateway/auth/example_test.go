package auth_test

import (
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
)

func Example() {
	c, err := config.Parse("config.yaml", []byte(`
buckets:
  - name: files
    path_prefix: /files
    s3: {bucket: files, region: eu-west-1, access_key: AK, secret_key: SK}
    auth:
      enabled: true
      jwt:
        algorithm: HS256
        secret: 0123456789abcdef0123456789abcdef
        claims: [{claim: sub, operator: equals, value: "${path.0}"}]
      rules: [{path: /open, enabled: false}]
`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	block := &c.Buckets[0].Auth
	v, err := auth.NewVerifier(block.JWT, auth.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := auth.NewPolicy(block, "files", v, auth.NewTokenCache(1000, 1<<20), nil)
	now := time.Now()
	token, _, err := p.Mint(nil, now, time.Hour) // of "dev"
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range []string{"dev/notes.txt", "alice/notes.txt"} {
		q := auth.Request{Header: new(fasthttp.RequestHeader), Key: []byte(key), Method: "GET", Now: now}
		q.Header.Set("Authorization", "Bearer "+token)
		verdict := p.Authorize(&q)
		fmt.Printf("%s, %s: %q\n", verdict.Subject, key, verdict.Reason)
	}
	for _, key := range []string{"open/notes.txt", "dev/notes.txt"} {
		q := auth.Request{Header: new(fasthttp.RequestHeader), Key: []byte(key), Method: "GET", Now: now}
		fmt.Printf("no token, %s: %q\n", key, p.Authorize(&q).Reason)
	}
	// Output:
	// dev, dev/notes.txt: ""
	// dev, alice/notes.txt: "claim_refused"
	// no token, open/notes.txt: ""
	// no token, dev/notes.txt: "token_missing"
}
