package credentials_test

import (
	"fmt"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/credentials"
)

func ExampleNew() {
	provider, err := credentials.New(&upstream.S3{Origin: upstream.Origin{
		AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: file.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), Region: "eu-west-1",
		Credentials: upstream.Credentials{Source: upstream.SourceStatic},
	}}, func(error) {})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(provider.Signer(time.Now()))
	// Output: sign.Signer{Region: eu-west-1, credential: ***}
}
