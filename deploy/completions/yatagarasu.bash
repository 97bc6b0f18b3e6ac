# Completes the flags of yatagarasu in bash, as its help names them, and file names.
complete -o default -W "$(yatagarasu -help 2>&1 | sed -n 's/^  \(-[a-z.-]*\).*/\1/p') token" yatagarasu
