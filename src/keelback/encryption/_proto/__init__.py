"""The messages of KMS plugins and of what is stored, generated from the `.proto` file beside this one."""
