package credentials_test

import (
	"fmt"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
)

func ExampleNew() {
	provider, err := credentials.New(&config.S3{Origin: config.Origin{
		AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: config.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), Region: "eu-west-1",
		Credentials: config.Credentials{Source: config.SourceStatic},
	}}, func(error) {})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(provider.Signer(time.Now()))
	// Output: sign.Signer{Region: eu-west-1, credential: ***}
}
