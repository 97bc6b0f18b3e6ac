package access_test

import (
	"fmt"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
)

func Example() {
	for _, text := range []string{
		"{ enabled: true, jwt: { secret: 0123456789abcdef0123456789abcdef, algorithm: HS256, claims: [{ claim: tenant, operator: equals, value: \"${path.0}\" }] } }",
		"{ enabled: true, jwt: { secret: short, algorithm: HS256 } }",
		"{ enabled: true }",
	} {
		d, root, err := file.Open("auth", []byte(text), nil, access.Grammar)
		if err != nil {
			fmt.Println(err)
			return
		}
		global := access.DecodeGlobal(d, nil)
		a := access.Decode(d, root, &global)
		if err := d.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(a.JWT.Sources[0].Type, a.JWT.Leeway, a.JWT.Claims[0].Name, a.JWT.Claims[0].Value)
	}

	// Output:
	// bearer 30s tenant ${path.0}
	// auth:1:33: jwt.secret: the secret is shorter than the 32 bytes that HS256 needs; make one: openssl rand -hex 32
	// auth:1:12: auth is enabled without a verifier; add auth.jwt to the bucket, or a global jwt block
}
