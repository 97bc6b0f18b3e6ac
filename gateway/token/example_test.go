package token_test

import (
	"fmt"

	"yatagarasu/gateway/token"
)

func Example() {
	var t token.Token
	raw := "eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9." + // {"alg":"HS256","kid":"one"}
		"eyJzdWIiOiJhbGljZSIsInJlYWxtIjp7InJvbGVzIjpbInJlYWRlciJdfX0." + // {"sub":"alice","realm":{"roles":["reader"]}}
		"AAAA"
	if err := t.Parse([]byte(raw)); err != nil {
		fmt.Println(err)
	}
	claims, err := t.Claims()
	if err != nil {
		fmt.Println(err)
	}
	roles, _ := claims.Find("realm.roles")
	fmt.Println(t.Alg, t.Kid, roles)
	fmt.Println(t.Parse([]byte("eyJhbGciOiJIUzI1NiJ9.e30")))
	// Output:
	// HS256 one [reader]
	// no signed JWT in compact form, or a bad header
}
