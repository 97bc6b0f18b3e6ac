package keys_test

import (
	"fmt"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/token"
)

func Example() {
	c, err := config.Parse("config.yaml", []byte(`
buckets:
  - name: files
    path_prefix: /files
    s3: {bucket: files, region: eu-west-1, access_key: AK, secret_key: SK}
    auth:
      enabled: true
      jwt: {keys: [{kid: one, algorithm: HS256, secret: 0123456789abcdef0123456789abcdef}]}
`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	k, err := keys.New(c.Buckets[0].Auth.JWT, keys.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, raw := range []string{
		"eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9.eyJzdWIiOiJhbGljZSJ9.aMr3N8O3dekctnLToXDqVsstUqMcCkiiKezCvsgcdv8", // {"alg":"HS256","kid":"one"}
		"eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9.eyJzdWIiOiJhbGljZSJ9.AAAA",
		"eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSJ9.eyJzdWIiOiJhbGljZSJ9.AAAA", // {"alg":"RS256","kid":"one"}
		"eyJhbGciOiJSUzI1NiIsImtpZCI6InR3byJ9.eyJzdWIiOiJhbGljZSJ9.AAAA", // {"alg":"RS256","kid":"two"}
	} {
		var t token.Token
		if err := t.Parse([]byte(raw)); err != nil {
			fmt.Println(err)
			continue
		}
		candidates, _, err := k.Ring().Candidates(nil, &t)
		if err != nil {
			fmt.Println(t.Kid, err)
		}
		for _, key := range candidates {
			fmt.Println(t.Kid, key.Name, key.Verifies(&t))
		}
	}
	// Output:
	// one key 0 (HS256, kid "one") true
	// one key 0 (HS256, kid "one") false
	// one no key is for the token's "alg"
	// two no key has the token's "kid"
}
